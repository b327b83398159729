package cache

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// holder starts a process that has the blob childContent in a cache, and keeps it open.
func holder(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd, says := process(t, dir, "holder")
	if l := says(); l != "holding" {
		t.Fatalf("the other process says %q", l)
	}
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

// While processes have a cache open it can be told which, and of those that were killed
// that they didn't close it.
func TestAKilledProcessIsToldFromOneThatCloses(t *testing.T) {
	dir := t.TempDir()
	l := layout{dir}
	tells := func(what string, users, unclean int) []User {
		t.Helper()
		got, n := l.users()
		if len(got) != users || n != unclean {
			t.Fatalf("%s: %+v have it open, and %d ended uncleanly; want %d and %d", what, got, n, users, unclean)
		}
		return got
	}
	tells("none yet", 0, 0)
	one, two := holder(t, dir), holder(t, dir)
	for _, u := range tells("two processes", 2, 0) {
		if u.For != "holder" || u.PID != one.Process.Pid && u.PID != two.Process.Pid || u.Since.IsZero() {
			t.Errorf("%+v", u)
		}
	}
	s := open(t, dir, Options{})
	tells("and this one", 3, 0)
	if s.checker.doubt.is {
		t.Error("others that are alive put nothing in doubt")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tells("this one closed it", 2, 0)
	kill(t, one)
	tells("one was killed", 1, 1)
	s = open(t, dir, Options{})
	eventually(t, "it is looked after", func() bool { _, n := l.users(); return n == 0 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tells("looked after", 1, 0)
	kill(t, two)
	if left := files(t, filepath.Join(dir, version, "alive")); len(left) != 1 {
		t.Errorf("left: %q", left)
	}
	if left := files(t, l.partials()); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
