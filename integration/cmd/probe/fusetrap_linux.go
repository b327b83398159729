package main

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// waitingRoot is a FUSE file system of one empty directory. The kernel asks for the directory's attributes
// before it lets a process go on to anything in it. Who isn't of this process' group gets no answer until all
// may go on. Then ESTALE sends them through the path once more: it leads to what was mounted on top
// meanwhile. No other call can make them wait: a lookup holds the directory, and mount(2) needs it.
type waitingRoot struct {
	fuse.RawFileSystem
	dir     string
	waiting func()        // closes waits
	waits   chan struct{} // closed when somebody waits
	release sync.Once     // closes goOn
	goOn    chan struct{} // closed when everybody may go on
	outcome fuse.Status   // what they get then
}

func fuseTrap(dir string) (trap, error) {
	t := &waitingRoot{RawFileSystem: fuse.NewDefaultRawFileSystem(), dir: dir, waits: make(chan struct{}), goOn: make(chan struct{})}
	t.waiting = sync.OnceFunc(func() { close(t.waits) })
	server, err := fuse.NewServer(t, dir, &fuse.MountOptions{
		FsName: "probe", Name: "probe", DirectMountStrict: true, DisableReadDirPlus: true,
		Options: []string{"default_permissions"}, // without it the kernel asks for no attributes on the way
	})
	if err != nil {
		return nil, fmt.Errorf("mount a FUSE file system at %s: %w", dir, err)
	}
	go server.Serve() // without WaitMount: a process that is killed with a file of its own mount open never ends
	// No program that this one starts has the device: the end of this one lets everybody go.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		unmountAll(dir)
		return nil, err
	}
	return t, nil
}

func (t *waitingRoot) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if group, err := unix.Getpgid(int(in.Pid)); err != nil || group != unix.Getpgrp() {
		t.waiting()
		select {
		case <-t.goOn:
			return t.outcome
		case <-cancel:
			return fuse.EINTR
		}
	}
	out.Ino, out.Mode, out.Nlink = in.NodeId, fuse.S_IFDIR|0o755, 2
	return fuse.OK
}

func (t *waitingRoot) Lookup(<-chan struct{}, *fuse.InHeader, string, *fuse.EntryOut) fuse.Status {
	return fuse.ENOENT
}

func (t *waitingRoot) ReadDir(<-chan struct{}, *fuse.ReadIn, *fuse.DirEntryList) fuse.Status {
	return fuse.OK
}

func (t *waitingRoot) asked(ctx context.Context) error {
	select {
	case <-t.waits:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *waitingRoot) ready(mounted bool) error {
	t.release.Do(func() {
		t.outcome = fuse.ENOENT
		if mounted {
			t.outcome = fuse.Status(unix.ESTALE)
		}
		close(t.goOn)
	})
	return nil
}

func (t *waitingRoot) close() {
	t.ready(false)
	unmountAll(t.dir)
}
