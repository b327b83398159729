package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// loopback is the process of go-fuse's loopback file system, which shows from at dir. It
// keeps attributes for as long as ocifs does what has a digest. It says on standard output
// that it is mounted, and ends when standard input does.
func loopback(from, dir string) error {
	root, err := gofs.NewLoopbackRoot(from)
	if err != nil {
		return err
	}
	hour := time.Hour
	server, err := gofs.Mount(dir, root, &gofs.Options{
		EntryTimeout: &hour, AttrTimeout: &hour,
		MountOptions: fuse.MountOptions{FsName: "loopback", Name: "loopback"},
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Println("mounted"); err != nil {
		return errors.Join(err, server.Unmount())
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, server.Unmount())
}

// loopbackMount is that process, as its parent sees it.
type loopbackMount struct {
	dir string
	cmd *exec.Cmd
	in  io.Closer
}

// startLoopback mounts the loopback file system, and waits until it answers.
func startLoopback(ctx context.Context, exe, from, dir string) (_ *loopbackMount, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	m := &loopbackMount{dir: dir, cmd: exec.CommandContext(ctx, exe, "loopback", from, dir)}
	m.cmd.Stderr = os.Stderr
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := m.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a loopback file system: %w", err)
	}
	m.in = in
	m.cmd.Cancel = in.Close // it unmounts then
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a loopback file system: %w", err)
	}
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a loopback file system: %w", err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("the loopback file system isn't mounted: %q, %w", line, err), m.Close())
	}
	return m, nil
}

// Close ends the process and waits for it.
func (m *loopbackMount) Close() error { return errors.Join(m.in.Close(), m.cmd.Wait()) }
