package integration

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// prefetch runs 'ocifs prefetch', and checks the exit code.
func (m *mounted) prefetch(code int, args string) (stdout, stderr string) {
	m.t.Helper()
	r := m.ocifs("prefetch " + args)
	if r.Code != code {
		m.t.Fatalf("prefetch %s: exit code %d, want %d\n%s%s", args, r.Code, code, r.Stdout, r.Stderr)
	}
	return r.Stdout, r.Stderr
}

// What was prefetched is read with the registry gone, by this mount and by the next one. --check tells
// before and after, and downloads nothing.
func TestPrefetchedIsReadOffline(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	sample := must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("one")))(t)
	must(repo(t, s, "team/multi").MultiPlatform(t.Context(), "v1"))(t)
	must(repo(t, s, "team/art").TitledArtifact(t.Context(), "v1"))(t)
	must(repo(t, s, "team/other").Image(t.Context(), "v1", content.Sample("other")))(t)
	m := testMount(t, mounting{flags: []string{"--platform", "linux/arm64"}})
	image, other := m.at(s, testImage, "tags/v1"), m.at(s, "team/other/tags/v1")
	all := strings.Join([]string{image, other + "/rootfs", m.at(s, "team/multi/tags/v1"), m.at(s, "team/art/tags/v1/files")}, " ")

	s.Forget()
	out, _ := m.prefetch(1, "--check "+all)
	if !strings.Contains(out, sample.Layers[0].Digest.String()) || strings.Count(out, "\n") < 7 {
		t.Errorf("--check prints\n%s", out)
	}
	if n := blobBytes(s); n != 0 {
		t.Errorf("--check downloaded %d bytes", n)
	}
	if _, err := m.prefetch(0, all); !strings.Contains(err, "in the cache") {
		t.Errorf("it says %q", err)
	}
	came := blobBytes(s)
	m.prefetch(0, "--progress none "+all)
	if n := blobBytes(s); n != came {
		t.Errorf("the second time it downloaded %d bytes more", n-came)
	}
	m.prefetch(0, "--check "+all)
	m.prefetch(1, "--check --platform linux/amd64 "+m.at(s, "team/multi/tags/v1"))
	read := strings.Join([]string{
		"cat " + image + "/rootfs/etc/version", "cat " + other + "/rootfs/usr/share/words >/dev/null", "cat " + other + "/rootfs/bin/hi",
		"cat " + image + "/image.tar | tar t >/dev/null", "skopeo inspect --raw oci:" + image + ":v1 >/dev/null",
		"cat " + m.at(s, "team/multi/tags/v1/rootfs/text"), "find -L " + m.at(s, "team/art/tags/v1/files") + " -type f -exec cat {} + >/dev/null",
	}, " && ")
	if err := s.Gone(); err != nil {
		t.Fatal(err)
	}
	m.sh("%s", read)
	m.prefetch(0, "--check "+all)
	m.unmount()
	next := testMount(t, mounting{cache: m.Cache, dir: m.Dir, flags: []string{"--platform", "linux/arm64", "--retry-max-wait", "1s"}})
	next.sh("%s", read)
	if err := s.Back(); err != nil {
		t.Fatal(err)
	}
}

// blobBytes counts the bytes of blobs that the registry sent.
func blobBytes(s *registries.Server) (n int64) {
	for _, r := range s.Requests() {
		if strings.Contains(r.Path, "/blobs/") {
			n += r.Bytes
		}
	}
	return n
}

// A path outside of any mount, or of one that isn't there, is told, and the others are brought. Paths are
// read from a list, and lead through symlinks.
func TestPrefetchTellsWhatItCannotBring(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
	m := testMount(t, mounting{})
	image := m.at(s, testImage, "tags/v1")
	m.sh("ln -s %s $HOME/link && printf '%%s\\n\\n' $HOME/link/layers >$HOME/list", image)
	_, err := m.prefetch(1, "/etc/passwd "+m.at(s, testImage, "tags/none")+" "+m.at(s, testImage)+" --files-from $HOME/list")
	for _, want := range []string{"/etc/passwd isn't in an ocifs mount", "tags/none: ENOENT: ", "nothing to bring", "3 things can't be brought"} {
		if !strings.Contains(err, want) {
			t.Errorf("it doesn't say %q:\n%s", want, err)
		}
	}
	m.prefetch(0, "--check $HOME/link/layers")
	m.sh("cd %s && printf 'blobs/\\n.\\n' | %s prefetch --files-from - && %s prefetch --check rootfs/../tags/v1 2>/dev/null; test $? = 2", image, quote(raceBin), quote(raceBin))
	m.prefetch(0, "--check "+image)
	for _, args := range []string{"", "--platform x " + image, "--files-from /nowhere", "--progress often " + image, "--check --background " + image, "--check /etc/passwd"} {
		if _, err := m.prefetch(2, args); strings.TrimSpace(err) == "" {
			t.Errorf("prefetch %s: without a word", args)
		}
	}
}

// SIGINT ends it with 130, and the next one goes on behind what came.
func TestPrefetchIsInterruptedAndContinued(t *testing.T) {
	t.Parallel()
	w := newWaiting(t, 82, 5*mib, mounting{})
	path := w.at(w.s, testImage, "tags/v1")
	p := w.start("exec " + quote(raceBin) + " prefetch " + path)
	w.transfers("download")
	group := must(strconv.Atoi(strings.TrimSpace(string(must(os.ReadFile(p.group))(t)))))(t)
	time.Sleep(300 * time.Millisecond) // the first 5 MiB are there by then
	if err := syscall.Kill(-group, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if r := <-p.came; r.Code != 130 || !strings.Contains(r.Stderr, "interrupted") {
		t.Errorf("exit code %d, %s", r.Code, r.Stderr)
	}
	w.s.Heal()
	w.prefetch(0, path)
	if n := blobBytes(w.s); n < 8*mib || n > 9*mib {
		t.Errorf("the registry sent %d KiB of 8 MiB", n>>10)
	}
}

// In the background the mount goes on when the command has returned, and nothing keeps anybody from
// unmounting.
func TestPrefetchInTheBackground(t *testing.T) {
	t.Parallel()
	w := newWaiting(t, 83, 5*mib, mounting{})
	path := w.at(w.s, testImage, "tags/v1/rootfs")
	_, err := w.prefetch(0, "--background "+path)
	if !strings.Contains(err, "ocifs status "+w.Dir) {
		t.Errorf("it says %q", err)
	}
	w.transfers("download", "unpack")
	w.prefetch(1, "--check "+path)
	w.s.Heal()
	for late := time.Now().Add(20 * time.Second); w.ocifs("prefetch --check "+path).Code != 0; {
		if time.Now().After(late) {
			t.Fatal("it doesn't come")
		}
	}
	w.s.Fault(registries.Fault{Method: "GET", Path: "/team/other/blobs/", Hold: true})
	w.prefetch(0, "--background "+w.at(w.s, "team/other/tags/v1"))
	began := time.Now()
	w.unmount()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the unmount took %s", took)
	}
}

// --max-download counts what is prefetched as what is read.
func TestPrefetchIsCharged(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("one")))(t)
	m := testMount(t, mounting{flags: []string{"--max-download", "1kB"}})
	_, err := m.prefetch(1, m.at(s, testImage, "tags/v1"))
	if !strings.Contains(err, "EDQUOT") {
		t.Errorf("it says %q", err)
	}
	if f := m.lastFailure("EDQUOT"); f.Op != "prefetch" || !strings.Contains(f.Cause, "--max-download allows") || f.Hint == "" {
		t.Errorf("errors.jsonl has %+v", f)
	}
}
