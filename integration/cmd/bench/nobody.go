package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/integration/internal/mount"
)

// mountAsNobody fills in d with a daemon that the user nobody runs, by fusermount3, in a
// mount namespace of its own. Everyone may open /dev/fuse there, which on some machines
// only root may; and whatever happens, the mount is gone with its last process.
func (b *bench) mountAsNobody(ctx context.Context, d *daemon, flags []string) error {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return fmt.Errorf("mounting without privileges: %w", err)
	}
	uid, err := strconv.Atoi(nobody.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(nobody.Gid)
	if err != nil {
		return err
	}
	home := filepath.Join(b.dir, "nobody")
	d.dir, d.env = filepath.Join(home, "mnt"), mount.Env(home, b.tools)
	for _, dir := range []string{home, d.dir, d.cache} {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chown(dir, uid, gid)); err != nil {
			return err
		}
	}
	device := filepath.Join(b.dir, "fuse")
	if err := fuseDevice(device); err != nil {
		return err
	}
	become := fmt.Sprintf("setpriv --reuid=%d --regid=%d --clear-groups --", uid, gid)
	script := fmt.Sprintf("mount --bind %s /dev/fuse && exec %s %s mount -f --cache-dir %s %s %s",
		quote(device), become, quote(b.ocifs), quote(d.cache), strings.Join(flags, " "), quote(d.dir))
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "--", "/bin/sh", "-c", script)
	cmd.Env = d.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.Create(filepath.Join(b.dir, "nobody.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("mounting without privileges: %w", err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); cmd.Wait() }()
	// Each of the programs becomes the next one, so this is the daemon in the end.
	d.pid = cmd.Process.Pid
	d.as = append([]string{"nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", d.pid), "--"}, strings.Fields(become)...)
	d.stop = func() error { return stop(cmd, exited, log.Name()) }
	for {
		select {
		case <-exited:
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("mounting without privileges: %s", strings.TrimSpace(string(said)))
		case <-ctx.Done():
			return errors.Join(ctx.Err(), d.stop())
		case <-time.After(20 * time.Millisecond):
		}
		if _, err := d.shell(ctx, "cat "+quote(d.dir+"/.ocifs/version")); err == nil {
			return nil
		}
	}
}

// fuseDevice makes a device like /dev/fuse that everyone may open.
func fuseDevice(path string) error {
	var st unix.Stat_t
	if err := unix.Stat("/dev/fuse", &st); err != nil {
		return fmt.Errorf("/dev/fuse: %w", err)
	}
	if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(st.Rdev)); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("making a device for those without privileges: %w", err)
	}
	return os.Chmod(path, 0o666) // whatever the umask took away
}

// stop ends a daemon as a person would, and then in earnest.
func stop(cmd *exec.Cmd, exited <-chan struct{}, log string) error {
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-exited:
		if code := cmd.ProcessState.ExitCode(); code != 0 {
			said, _ := os.ReadFile(log)
			return fmt.Errorf("the daemon without privileges ended with exit code %d: %s", code, said)
		}
		return nil
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		<-exited
		return errors.New("the daemon without privileges had to be killed")
	}
}
