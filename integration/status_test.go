package integration

import (
	"encoding/json"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/mount"
)

// mountStates is what 'ocifs status --json' prints.
type mountStates struct {
	Mounts []struct {
		Mountpoint string
		Source     string
		Alive      bool
		Transfers  []transfer
		Uploads    []push
		Cache      struct {
			Used  int64 `json:"used_bytes"`
			Limit int64 `json:"limit_bytes"`
		}
		Errors []failure
	}
}

// push is an element of .ocifs/uploads.json.
type push struct{ Repository, Target, State, Error string }

// ocifs runs the program with the mount's home.
func (m *mounted) ocifs(args string) mount.Result {
	m.t.Helper()
	return m.run(quote(raceBin) + " " + args)
}

// states asks for the state of mounts, and checks the exit code.
func (m *mounted) states(code int, dirs ...string) (s mountStates) {
	m.t.Helper()
	args := "status --json"
	for _, d := range dirs {
		args += " " + quote(d)
	}
	r := m.ocifs(args)
	if err := json.Unmarshal([]byte(r.Stdout), &s); err != nil || r.Code != code {
		m.t.Fatalf("%s: exit code %d, want %d: %v\n%s%s", args, r.Code, code, err, r.Stdout, r.Stderr)
	}
	return s
}

// A mount that hangs, one whose daemon was killed, and a directory that is no mount are named within
// seconds, beside a mount that answers. Unmounting takes all of them away.
func TestStatusNamesWhatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	alive, hung, dead := testMount(t, mounting{}), testMount(t, mounting{}), testMount(t, mounting{source: "localhost:5000"})
	dead.killed, hung.killed = true, true
	t.Cleanup(func() { _ = hung.Signal(syscall.SIGCONT) }) // before the mounts' own clean-up
	if err := dead.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := dead.Wait(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := hung.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	none := t.TempDir()
	began := time.Now()
	s := alive.states(1, hung.Dir, dead.Dir, alive.Dir, none)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	want := map[string]string{hung.Dir: "hangs", dead.Dir: "dead", none: "no ocifs is mounted there", alive.Dir: ""}
	for _, m := range s.Mounts {
		cause, ok := want[m.Mountpoint]
		delete(want, m.Mountpoint)
		switch {
		case !ok:
			t.Errorf("it tells of %s", m.Mountpoint)
		case m.Alive != (cause == ""):
			t.Errorf("%s is alive: %t", m.Mountpoint, m.Alive)
		case cause != "" && (len(m.Errors) != 1 || !strings.Contains(m.Errors[0].Cause, cause) || m.Errors[0].Hint == ""):
			t.Errorf("%s: %+v, want %q", m.Mountpoint, m.Errors, cause)
		}
	}
	if len(want) > 0 {
		t.Errorf("it doesn't tell of %q", want)
	}
	r := alive.ocifs("status " + quote(hung.Dir) + " " + quote(alive.Dir))
	if r.Code != 1 || !strings.Contains(r.Stdout, hung.Dir+": it hangs") || !strings.Contains(r.Stdout, alive.Dir+": alive, every registry, cache") || strings.Contains(r.Stdout, "\x1b") {
		t.Errorf("the text, with exit code %d, is\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	for _, command := range []string{"status ", "unmount "} { // a directory in it is no mountpoint
		began, r := time.Now(), alive.ocifs(command+quote(hung.Dir+"/.ocifs"))
		if took := time.Since(began); r.Code != 1 || !strings.Contains(r.Stdout+r.Stderr, "no ocifs is mounted") || took > 10*time.Second {
			t.Errorf("%sof a directory in a mount that hangs: exit code %d after %s, %s%s", command, r.Code, took, r.Stdout, r.Stderr)
		}
	}
	if err := hung.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	alive.ended = true
	r = alive.ocifs("unmount " + strings.Join([]string{quote(none), quote(dead.Dir), quote(hung.Dir), quote(alive.Dir)}, " "))
	if r.Code != 1 || !strings.Contains(r.Stderr, "no ocifs is mounted on "+none) || !strings.Contains(r.Stderr, "1 of 4") {
		t.Errorf("unmount: exit code %d, %s", r.Code, r.Stderr)
	}
	for _, dir := range []string{alive.Dir, hung.Dir, dead.Dir} {
		if mount.Mounted(dir) {
			t.Errorf("%s is still mounted", dir)
		}
	}
	if code, err := alive.Wait(15 * time.Second); code != 0 || err != nil {
		t.Errorf("the daemon ended with %d, %v", code, err)
	}
}

// Status tells what is under way, what wasn't pushed, what failed, and the cache.
func TestStatusTellsWhatAMountDoes(t *testing.T) {
	t.Parallel()
	w := newWaiting(t, 81, 5*mib, mounting{})
	cat := w.start("exec cat " + w.big())
	w.transfers("download", "unpack")
	w.run("cat " + w.at(w.s, "team/none/tags/v1/manifest.json"))
	w.run("cd " + w.at(w.s, "team/new/upload") + " && mkdir v1 && cd v1 && echo '{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:" + strings.Repeat("0", 64) + "\",\"size\":7}]}' >index.json")
	m := w.states(0, w.Dir).Mounts[0]
	kinds := map[string]transfer{}
	for _, x := range m.Transfers {
		kinds[x.Kind] = x
	}
	layer := w.image.Layers[0]
	if d := kinds["download"]; d.Digest != string(layer.Digest) || d.Size != layer.Size || d.Done == 0 {
		t.Errorf("of the download it tells %+v", d)
	}
	waits := slices.IndexFunc(m.Uploads, func(u push) bool { return u.Target == "v1" })
	if waits < 0 || m.Uploads[waits].State != "waiting" || !strings.HasSuffix(m.Uploads[waits].Repository, "team/new") || m.Uploads[waits].Error == "" {
		t.Errorf("of pushes it tells %+v", m.Uploads)
	}
	if n := len(m.Errors); n == 0 || m.Errors[0].Errno != "ENOENT" || !strings.HasSuffix(m.Errors[0].Path, "team/none/tags/v1") || m.Errors[0].Hint == "" || m.Errors[0].Time.Location() != time.UTC {
		t.Errorf("of errors it tells %+v", m.Errors)
	}
	if m.Cache.Used == 0 || m.Cache.Limit < m.Cache.Used {
		t.Errorf("of the cache it tells %+v", m.Cache)
	}
	text := w.ocifs("status " + quote(w.Dir)).Stdout
	for _, want := range []string{"download  sha256:", " of 8.0", "push waiting " + w.s.Host + "/team/new v1: ", "ENOENT lookup "} {
		if !strings.Contains(text, want) {
			t.Errorf("the text has no %q:\n%s", want, text)
		}
	}
	if out := w.sh("%s status --watch --json $M | head -n 2 | jq -c '.mounts[0].alive'", quote(raceBin)); out != "true\ntrue\n" {
		t.Errorf("--watch printed %q", out)
	}
	cat.isEnded(syscall.SIGTERM)
	w.sh("rm -r %s", w.at(w.s, "team/new/upload/v1"))
}

// 'ocifs unmount -a' unmounts all of this user's mounts. In a mount namespace of its own that is the
// one that was mounted there.
func TestUnmountAll(t *testing.T) {
	t.Parallel()
	c := newCommand(t)
	script := "mkdir $HOME/mnt $HOME/two && " + quote(raceBin) + ` mount $HOME/mnt && ` + quote(raceBin) + ` mount $HOME/two || exit 3
		` + quote(raceBin) + ` status --json | jq -c "[.mounts[].alive]"
		` + quote(raceBin) + ` unmount -a || exit 4
		` + quote(raceBin) + ` status --json | jq -c .
		` + quote(raceBin) + ` status`
	r := c.ends(0, "unshare -m --propagation private bash -c "+quote("umount -l -a -t fuse.ocifs 2>/dev/null\n"+script))
	want := "[true,true]\n{\"mounts\":[]}\nno ocifs is mounted\n"
	if r.Stdout != want {
		t.Errorf("it printed %q, want %q; %s", r.Stdout, want, r.Stderr)
	}
}
