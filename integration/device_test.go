//go:build linux

package integration

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// A program with the privilege mounts a FUSE device, and ocifs serves it without any privilege, in
// the foreground until it is unmounted.
func TestDevice(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("only root can mount a device")
	}
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Small("x")))(t)
	for name, end := range map[string]func(dir string, ocifs *exec.Cmd) error{
		"unmounted":  func(dir string, _ *exec.Cmd) error { return unix.Unmount(dir, unix.MNT_DETACH) },
		"terminated": func(_ string, ocifs *exec.Cmd) error { return ocifs.Process.Signal(syscall.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			home, dir := openDir(t), t.TempDir()
			binary := filepath.Join(home, "ocifs") // where everybody may enter
			copyFile(t, binary, raceBin)
			device := must(os.OpenFile("/dev/fuse", os.O_RDWR, 0))(t)
			defer device.Close()
			options := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device.Fd())
			if err := unix.Mount("driver", dir, "fuse.driver", unix.MS_NODEV|unix.MS_NOSUID, options); err != nil {
				t.Fatal(os.NewSyscallError("mount", err))
			}
			t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
			cache := filepath.Join(home, "cache")
			must(0, os.MkdirAll(cache, 0o700))(t)
			must(0, os.Chown(cache, 65534, 65534))(t)
			ocifs := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set=-all",
				binary, "mount", "--cache-dir", cache, "--allow-other", s.Host, "/dev/fd/3")
			ocifs.ExtraFiles = []*os.File{device}
			ocifs.Env = append(mount.Env(home), "GORACE=halt_on_error=1 exitcode=66")
			var said strings.Builder
			ocifs.Stdout, ocifs.Stderr = &said, &said
			if err := ocifs.Start(); err != nil {
				t.Fatal(err)
			}
			device.Close() // as a driver does
			kill := time.AfterFunc(time.Minute, func() { ocifs.Process.Kill() })
			defer kill.Stop()
			r, err := mount.Run(limit(t, 30*time.Second), mount.Env(home), fmt.Sprintf("cd %s && cat %s/tags/v1/digest && cat .ocifs/config.json", dir, testImage))
			if err != nil || r.Code != 0 || !strings.HasPrefix(r.Stdout, "sha256:") || !strings.Contains(r.Stdout, `"/dev/fd/3"`) {
				t.Errorf("the mount reads %q, %s, %v", r.Stdout, r.Stderr, err)
			}
			if err := end(dir, ocifs); err != nil {
				t.Error(err)
			}
			if err := ocifs.Wait(); err != nil {
				t.Errorf("ocifs ended with %v", err)
			}
			if !strings.Contains(said.String(), "allow-other") {
				t.Errorf("someone is told that --allow-other is without effect")
			}
			if t.Failed() {
				t.Log(said.String())
			}
		})
	}
}

// openDir is a temporary directory that everybody may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir := must(os.MkdirTemp("", "ocifs-"))(t)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(0, os.Chmod(dir, 0o755))(t)
	return dir
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	in := must(os.Open(from))(t)
	defer in.Close()
	out := must(os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755))(t)
	_, err := io.Copy(out, in)
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
