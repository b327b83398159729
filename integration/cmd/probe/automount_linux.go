package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// trap makes each process wait that looks at a directory, but for those of this process' group.
type trap interface {
	asked(context.Context) error // waits until somebody waits
	ready(mounted bool) error    // lets everybody go on
	close()                      // takes the trap away
}

// automount is an automounter for one directory, as systemd's automount units are. Another process
// looks at a file of the directory, and the trap makes it wait. Then mounting has to mount there,
// as a process of this one's group, before the wait is over. The trap is autofs, or a FUSE file system
// that does the same where the kernel has no autofs.
func automount(dir, file string, mounting []string) (_ string, err error) {
	if err := unix.Setpgid(0, 0); err != nil { // the group may be of another process namespace
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	var t trap
	if t, err = autofs(dir); errors.Is(err, unix.ENODEV) {
		t, err = fuseTrap(dir)
	}
	if err != nil {
		return "", err
	}
	defer t.close()

	looker := exec.Command("cat", file)
	looker.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var seen strings.Builder
	looker.Stdout, looker.Stderr = &seen, &seen
	if err := looker.Start(); err != nil {
		return "", err
	}
	defer looker.Process.Kill()

	if err := t.asked(ctx); err != nil {
		return "", fmt.Errorf("nobody asked for the mount: %w", err)
	}
	mount := exec.CommandContext(ctx, mounting[0], mounting[1:]...)
	mount.WaitDelay = time.Second
	if out, err := mount.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("%s: %w: %s", mounting, err, out), t.ready(false))
	}
	if err := t.ready(true); err != nil {
		return "", fmt.Errorf("ready: %w", err)
	}
	if err := looker.Wait(); err != nil {
		return "", fmt.Errorf("%w: %s", err, seen.String())
	}
	return "ok " + strings.TrimSpace(seen.String()), nil
}

// unmountAll unmounts what is mounted at dir, all of it.
func unmountAll(dir string) {
	for unix.Unmount(dir, unix.MNT_DETACH) == nil {
	}
}
