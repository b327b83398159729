package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// cacheStats is what `ocifs cache stats --json` prints.
type cacheStats struct {
	Exists                                        bool
	Blobs, Downloads, Left, Quarantined, Pointers held
	Users                                         []struct {
		PID int
		For string
	}
	Unclean int
	Staged  []struct {
		Dir   string
		Alive bool
		Left  []struct{ Repository, Target string }
	}
}

type held struct{ Files, Bytes int64 }

// cache runs `ocifs cache` on the mount's cache, and checks its exit code.
func (m *mounted) cache(code int, args string) mount.Result {
	m.t.Helper()
	command, flags, _ := strings.Cut(args, " ")
	r := m.run(fmt.Sprintf("%s cache %s --cache-dir %s %s", quote(m.Binary), command, quote(m.Cache), flags))
	if r.Code != code || code != 0 && r.Stderr == "" {
		m.t.Errorf("ocifs cache %s: exit code %d, want %d\n%s%s", args, r.Code, code, r.Stdout, r.Stderr)
	}
	return r
}

// cacheJSON gives what it prints with --json.
func (m *mounted) cacheJSON(code int, args string, v any) {
	m.t.Helper()
	if r := m.cache(code, args+" --json"); json.Unmarshal([]byte(r.Stdout), v) != nil {
		m.t.Fatalf("ocifs cache %s --json prints %q", args, r.Stdout)
	}
}

func (m *mounted) cacheStats() (s cacheStats) {
	m.t.Helper()
	m.cacheJSON(0, "stats", &s)
	return s
}

// cacheFile is where a blob is kept.
func (m *mounted) cacheFile(hex string) string {
	return filepath.Join(m.Cache, "v1/blobs/sha256", hex[:2], hex)
}

// waitFor waits for what goes on behind.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// While a mount lives its cache can be looked at, verified, pruned and cleared: readers
// read on, a download under way goes on, and what is read again comes again.
func TestCacheCommandsWithALiveMount(t *testing.T) {
	t.Parallel()
	b := newBroken(t, 4*mib, mounting{})
	b.probe(b.whole(), "read", b.file)
	b.sh("cd $M && cp -r %s/tags/v1 %s/upload/v2", b.at(b.s, testImage), b.at(b.s, "team/other"))

	s := b.cacheStats()
	if s.Blobs.Files < 2 || s.Blobs.Bytes < 4*mib || s.Unclean != 0 || len(s.Users) != 1 || s.Users[0].For != b.Dir || s.Users[0].PID != b.PID() {
		t.Errorf("stats: %+v", s)
	}
	if r := b.cache(0, "stats"); !strings.Contains(r.Stdout, b.Dir) || !strings.Contains(r.Stdout, "4.0 MiB") {
		t.Errorf("stats:\n%s", r.Stdout)
	}
	if r := b.cache(0, "verify"); !strings.Contains(r.Stdout, "0 damaged") || r.Stderr != "" {
		t.Errorf("verify:\n%s%s", r.Stdout, r.Stderr)
	}
	b.cache(0, "prune")
	if now := b.cacheStats(); now.Blobs != s.Blobs {
		t.Errorf("prune without flags: blobs %+v, then %+v", s.Blobs, now.Blobs)
	}
	b.cache(0, "prune --to 1MiB --dry-run")
	if now := b.cacheStats(); now.Blobs != s.Blobs {
		t.Errorf("a dry run: blobs %+v, then %+v", s.Blobs, now.Blobs)
	}

	// A reader that has read a part, and a download that has some of it.
	other := must(repo(t, b.s, testImage).Artifact(t.Context(), "slow", content.Artifact{
		Type:  "application/vnd.example.noise",
		Files: []content.ArtifactFile{content.Titled("noise", "application/octet-stream", content.NoiseBytes(9, 4*mib))},
	}))(t)
	slow := other.Layers[0].Digest.Encoded()
	person := b.shell()
	person(fmt.Sprintf("exec 3<%s && dd bs=64k count=1 <&3 2>/dev/null | sha256sum", quote(b.file)))
	b.s.Fault(registries.Fault{Path: "/blobs/sha256:" + slow, Stall: mib})
	person(fmt.Sprintf("(%s read %s >$HOME/slow 2>&1) &", probeBin, quote(b.at(b.s, testImage, "blobs/sha256", slow))))
	waitFor(t, "a download is under way", func() bool {
		info, err := os.Stat(firstOr(must(mount.Partials(b.Cache))(t), b.Cache+"/none"))
		return err == nil && info.Size() > 0
	})
	r := b.cache(0, "clear")
	if !strings.Contains(r.Stdout, "1 mount uses the cache") {
		t.Errorf("clear:\n%s", r.Stdout)
	}
	if now := b.cacheStats(); now.Blobs.Files != 0 || now.Pointers.Files != 0 || now.Downloads.Files != 1 {
		t.Errorf("after clear: %+v", now)
	}
	rest := person("cat <&3 | wc -c")
	if strings.TrimSpace(rest) != fmt.Sprint(4*mib-64<<10) {
		t.Errorf("the reader got %s bytes more", strings.TrimSpace(rest))
	}
	b.s.Heal()
	if got := person("wait; exec 3<&-; cat $HOME/slow"); got != "ok "+slow+"\n" {
		t.Errorf("the download under way gave %q", got)
	}
	b.s.Forget()
	b.probe(b.whole(), "read", b.file)
	if n := b.s.Counts()["GET blob"]; n != 1 {
		t.Errorf("what was cleared was fetched %d times", n)
	}
	b.probe("ok "+slow, "read", b.at(b.s, testImage, "blobs/sha256", slow))
	if n := b.s.Counts()["GET blob"]; n != 1 {
		t.Errorf("what was under way was fetched again: %v", b.s.Requests())
	}
}

// After a kill the next mount shows no byte of what the one that was killed wrote and the disk
// lost, and what wasn't pushed is named, and goes by its name alone.
func TestCacheAfterAKill(t *testing.T) {
	t.Parallel()
	cache, dir := filepath.Join(t.TempDir(), "cache"), t.TempDir()
	b := newBroken(t, 12*mib, mounting{cache: cache, dir: dir}) // more than is hashed at once
	b.killed = true
	b.probe(b.whole(), "read", b.file)
	b.sh("mkdir %[1]s/upload/v2 && echo precious >%[1]s/upload/v2/index.json; echo work >%[1]s/upload/.kept; true", b.at(b.s, "team/other"))
	b.s.Fault(registries.Fault{Path: "/blobs/uploads/", Status: 403})
	b.run("echo model >" + b.at(b.s, "team/other/upload/blobs/model"))
	file := b.cacheFile(b.layer.Digest.Encoded())
	waitFor(t, "the blob has its place", func() bool {
		_, err := os.Stat(file)
		return err == nil
	})
	if err := b.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	b.s.Heal()
	flipped := must(os.ReadFile(file))(t)
	flipped[mib] ^= 1
	if err := os.WriteFile(file, flipped, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := b.cacheStats(); s.Unclean != 1 || len(s.Users) != 0 || len(s.Staged) != 1 || s.Staged[0].Alive {
		t.Errorf("stats: %+v", s)
	}
	again := testMount(t, mounting{cache: cache, dir: dir})
	b.Mount, b.ended = again.Mount, true // nothing of the first is left to clean up
	again.probe(b.whole(), "read", again.at(b.s, testImage, "tags/v1/files/noise"))
	if _, err := os.Stat(filepath.Join(cache, "v1/quarantine", b.layer.Digest.Encoded())); err != nil {
		t.Errorf("what the disk lost: %v", err)
	}

	left := func(what string, want bool) {
		t.Helper()
		s := again.cacheStats()
		is := false
		for _, st := range s.Staged {
			for _, l := range st.Left {
				is = is || l.Target == "model" && l.Repository == b.s.Host+"/team/other"
			}
		}
		if is != want {
			t.Errorf("%s: what wasn't pushed is named: %t\n%+v", what, is, s.Staged)
		}
	}
	left("after a kill", true)
	if r := again.cache(0, "clear"); !strings.Contains(r.Stdout, "model") {
		t.Errorf("clear:\n%s", r.Stdout)
	}
	left("after clear", true)
	again.cache(0, "clear --unpushed")
	left("after clear --unpushed", false)
}
