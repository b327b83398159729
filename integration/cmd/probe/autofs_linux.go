package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The kernel's uapi/linux/auto_fs.h.
const (
	autofsReady     = 0x9360
	autofsFail      = 0x9361
	autofsCatatonic = 0x9362

	autofsMissingDirect = 5
)

// autofsTrap is a direct mount of autofs.
type autofsTrap struct {
	dir     string
	root    int      // the directory
	packets *os.File // tells who waits
	token   int      // names the wait
}

func autofs(dir string) (trap, error) {
	packets, fromKernel, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer fromKernel.Close()
	options := fmt.Sprintf("fd=%d,pgrp=%d,minproto=5,maxproto=5,direct", fromKernel.Fd(), unix.Getpgrp())
	if err := unix.Mount("probe", dir, "autofs", 0, options); err != nil {
		packets.Close()
		return nil, fmt.Errorf("mount autofs: %w", err)
	}
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		packets.Close()
		unmountAll(dir)
		return nil, err
	}
	return &autofsTrap{dir: dir, root: root, packets: packets}, nil
}

func (t *autofsTrap) asked(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { t.packets.Close() })
	defer stop()
	packet := make([]byte, 512) // a packet of version 5 has 304 bytes
	if _, err := t.packets.Read(packet); err != nil {
		return errors.Join(err, ctx.Err())
	}
	if kind := binary.NativeEndian.Uint32(packet[4:]); kind != autofsMissingDirect {
		return fmt.Errorf("the kernel asks for %d", kind)
	}
	t.token = int(binary.NativeEndian.Uint32(packet[8:]))
	return nil
}

func (t *autofsTrap) ready(mounted bool) error {
	if !mounted {
		return unix.IoctlSetInt(t.root, autofsFail, t.token)
	}
	return unix.IoctlSetInt(t.root, autofsReady, t.token)
}

func (t *autofsTrap) close() {
	unix.IoctlSetInt(t.root, autofsCatatonic, 0) // lets everybody go
	unix.Close(t.root)
	t.packets.Close()
	unmountAll(t.dir)
}
