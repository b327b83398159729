package crowd

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A bad network has some errnos, a daemon that is away some more, and nobody is told
// anything else.
func TestWhatAProgramMayBeTold(t *testing.T) {
	for _, c := range []struct {
		program, says, errno string
		calm, away           bool // whether it may be said
	}{
		{"cat", "cat: x: No route to host", "EHOSTUNREACH", true, true},
		{"skopeo", "open x: remote I/O error", "EREMOTEIO", true, true},
		{"mmap", "SIGBUS", "SIGBUS", true, true},
		{"mmap", "ETIMEDOUT", "ETIMEDOUT", true, true},
		{"cat", "cat: x: Transport endpoint is not connected", "ENOTCONN", false, true},
		{"cp -r", "cp: error reading x: Software caused connection abort", "ECONNABORTED", false, true},
		{"cat", "cat: x: No such file or directory", "ENOENT", false, true},
		{"rsync", "directory has vanished: \"x\"", "ENOENT", false, true},
		{"umoci", "open CAS: validate: read oci-layout: invalid image detected", "ENOENT", false, true},
		{"rsync", "x: Too many levels of symbolic links (40)", "ELOOP of rsync", true, true},
		{"cat", "cat: x: Too many levels of symbolic links", "?", false, false},
		{"oras", "Error: mkdir mnt: file exists", "EEXIST of oras", false, true},
		{"cp -r", "mkdir mnt: file exists", "?", false, false},
		{"cat", "cat: x: Input/output error", "wrong", false, false},
		{"cat", "cat: x: Bad message", "wrong", false, false},
		{"mmap", "EIO", "wrong", false, false},
		{"cat", "cat: x: No route to host\ncat: y: Bad message", "wrong", false, false},
		{"cat", "", "?", false, false},
	} {
		for away, want := range map[bool]bool{false: c.calm, true: c.away} {
			if errno, ok := told(program{name: c.program}, c.says, away); errno != c.errno || ok != want {
				t.Errorf("%s says %q (outage: %t): %s %t, want %s %t", c.program, c.says, away, errno, ok, c.errno, want)
			}
		}
	}
}

// A turn has a part in an outage if any moment of it does.
func TestTurnsInAnOutage(t *testing.T) {
	var o outages
	before := time.Now()
	if o.wasAway(before, time.Now()) {
		t.Error("there was no outage yet")
	}
	o.Away()
	during := time.Now()
	if !o.wasAway(before, during) || !o.wasAway(during, time.Now()) {
		t.Error("the outage is not noticed while it lasts")
	}
	o.Back()
	after := time.Now()
	for _, c := range []struct {
		began, ended time.Time
		want         bool
	}{{before, after, true}, {during, after, true}, {before, during, true}, {before.Add(-time.Hour), before, false}, {after, after.Add(time.Hour), false}} {
		if got := o.wasAway(c.began, c.ended); got != c.want {
			t.Errorf("from %s to %s: %t", c.began.Sub(during), c.ended.Sub(during), got)
		}
	}
}

// What a program wrote where nothing was mounted is taken away and held against that
// program's push alone.
func TestWrittenBesideTheMount(t *testing.T) {
	dir := t.TempDir()
	beneath, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer beneath.Close()
	c := &Crowd{Reporter: t, o: Options{Beneath: beneath}}
	if err := os.MkdirAll(filepath.Join(dir, "127.0.0.1_5000/team/by14/upload/blobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.ClearBeneath(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("beneath stays %v, %v", left, err)
	}
	if c.tookBeside("team/by15") || !c.tookBeside("team/by14") || c.tookBeside("team/by14") {
		t.Error("it isn't held against who did it, once")
	}
}
