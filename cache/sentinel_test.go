package cache

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
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

// Who looks for those that have the cache open has each sentinel locked for a moment. Who opens
// the cache in that moment doesn't take one of an unclean end for that of a live process.
func TestALookForUsersHidesNoUncleanEnd(t *testing.T) {
	dir := t.TempDir()
	_ = open(t, dir, Options{}).Close()
	l := layout{dir}
	if err := os.WriteFile(filepath.Join(l.alive(), "1-killed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	found, was := make(chan int, 1), flock
	t.Cleanup(func() { flock = was })
	var once sync.Once
	flock = func(fd, how int) error {
		err := was(fd, how)
		if how&syscall.LOCK_SH != 0 {
			once.Do(func() {
				go func() {
					own, others := l.unclean()
					closeAll(own)
					found <- len(own) + len(others)
				}()
				for end := time.Now().Add(50 * time.Millisecond); len(found) == 0 && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
			})
		}
		return err
	}
	if _, unclean := l.users(); unclean != 1 {
		t.Errorf("%d unclean ends are told", unclean)
	}
	if n := <-found; n != 1 {
		t.Errorf("%d unclean ends were found", n)
	}
}
