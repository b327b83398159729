package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// SIGINT and SIGTERM unmount cleanly, also where somebody stands in the mount.
func TestSignals(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s busy=%t", signal, busy), func(t *testing.T) {
				m := testMount(t, mounting{})
				if busy {
					m.shell()("cd $M/.ocifs && exec 3<version")
				}
				if err := m.Signal(signal); err != nil {
					t.Fatal(err)
				}
				if code, err := m.Wait(30 * time.Second); err != nil || code != 0 {
					t.Errorf("the daemon ended with %d, %v", code, err)
				}
				if mount.Mounted(m.Dir) {
					t.Error("the mount is still there")
				}
			})
		}
	}
}

// A signal unmounts at once, and the daemon goes on with its pushes; a second one gives them up.
func TestASecondSignalGivesUpPushes(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{})
	m.sh("cp -r %s %s/kept", m.at(s, testImage, "tags/v1"), m.Home)
	s.Forget()
	s.Fault(registries.Fault{Method: "PUT", Path: "/manifests/", Hold: true})
	copying := m.start(fmt.Sprintf("exec cp -r %s/kept %s/upload/v2", m.Home, m.at(s, "team/held")))
	for i := 0; s.Counts()["PUT manifest"] == 0; i++ {
		if i == 1500 {
			t.Fatal("the manifest isn't put")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := m.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for i := 0; mount.Mounted(m.Dir); i++ {
		if i == 1500 {
			t.Fatal("the mount is still there")
		}
		time.Sleep(20 * time.Millisecond)
	}
	if code, err := m.Wait(time.Second); err == nil {
		t.Fatalf("the daemon ended with %d while it was pushing", code)
	}
	if err := m.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, err := m.Wait(15 * time.Second); err != nil || code != 0 {
		t.Errorf("the daemon ended with %d, %v", code, err)
	}
	<-copying.came // with whatever: its file was closed, or the mount was gone
	s.Heal()
}

// By default no other user reads the mount; with --allow-other all do.
func TestOtherUsers(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("only root can become another user: the flag is tested as far as it goes")
		return
	}
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
	for _, allow := range []bool{false, true} {
		dir := must(os.MkdirTemp("/tmp", "ocifs-other-"))(t)
		t.Cleanup(func() { os.Remove(dir) })
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		o := mounting{dir: dir}
		if allow {
			o.flags = []string{"--allow-other"}
		}
		m := testMount(t, o)
		r := m.run("setpriv --reuid 65534 --regid 65534 --clear-groups cat " + m.at(s, testImage, "tags/v1/manifest.json"))
		if (r.Code == 0) != allow {
			t.Errorf("allow-other %t: another user's cat ended with %d: %s", allow, r.Code, r.Stderr)
		}
		m.unmount()
	}
}

// A daemon that is killed in the moment in which it mounts is gone, with its mount. A process
// that has a file of its own mount open never ends.
func TestADaemonThatIsKilledAsItMountsEnds(t *testing.T) {
	t.Parallel()
	dir, cache := t.TempDir(), t.TempDir()
	for range 5 {
		cmd := exec.Command(plainBin, "mount", "-f", "--cache-dir", cache, dir)
		cmd.Env = mount.Env(t.TempDir())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for began := time.Now(); !mount.Mounted(dir) && time.Since(began) < 30*time.Second; { // soon after, so no pause
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Errorf("the daemon doesn't end: %v", errors.Join(mount.Clear(dir), <-ended))
			return
		}
		if err := mount.Clear(dir); err != nil {
			t.Fatal(err)
		}
	}
}
