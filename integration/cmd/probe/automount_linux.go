package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel's uapi/linux/auto_fs.h.
const (
	autofsReady     = 0x9360
	autofsFail      = 0x9361
	autofsCatatonic = 0x9362

	autofsMissingDirect = 5
)

// automount is an automounter for one directory, as systemd's automount units are. Another process
// looks at a file of the directory, and the kernel makes it wait. Then mounting has to mount there,
// as a process of this one's group, before the wait is over.
func automount(dir, file string, mounting []string) (string, error) {
	if err := unix.Setpgid(0, 0); err != nil { // the group may be of another process namespace
		return "", err
	}
	packets, fromKernel, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer packets.Close()
	defer fromKernel.Close()
	options := fmt.Sprintf("fd=%d,pgrp=%d,minproto=5,maxproto=5,direct", fromKernel.Fd(), unix.Getpgrp())
	if err := unix.Mount("probe", dir, "autofs", 0, options); err != nil {
		return "", fmt.Errorf("mount autofs: %w", err)
	}
	defer func() {
		for unix.Unmount(dir, unix.MNT_DETACH) == nil {
		}
	}()
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(root)
	defer unix.IoctlSetInt(root, autofsCatatonic, 0) // lets everybody go

	looker := exec.Command("cat", file)
	looker.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var seen strings.Builder
	looker.Stdout, looker.Stderr = &seen, &seen
	if err := looker.Start(); err != nil {
		return "", err
	}
	defer looker.Process.Kill()

	packet := make([]byte, 512) // a packet of version 5 has 304 bytes
	if err := packets.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if _, err := packets.Read(packet); err != nil {
		return "", fmt.Errorf("nobody asked for the mount: %w", err)
	}
	if kind := binary.NativeEndian.Uint32(packet[4:]); kind != autofsMissingDirect {
		return "", fmt.Errorf("the kernel asks for %d", kind)
	}
	token := int(binary.NativeEndian.Uint32(packet[8:]))
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	mount := exec.CommandContext(ctx, mounting[0], mounting[1:]...)
	mount.WaitDelay = time.Second
	if out, err := mount.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("%s: %w: %s", mounting, err, out), unix.IoctlSetInt(root, autofsFail, token))
	}
	if err := unix.IoctlSetInt(root, autofsReady, token); err != nil {
		return "", fmt.Errorf("ready: %w", err)
	}
	if err := looker.Wait(); err != nil {
		return "", fmt.Errorf("%w: %s", err, seen.String())
	}
	return "ok " + strings.TrimSpace(seen.String()), nil
}
