package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocifs/ocifs/fs/upload"
)

// stagedFile is a file of the staging area as the kernel sees it. All reads and
// writes are direct: the staging disk has a page cache of its own.
type stagedFile struct {
	stagedNode
	file *upload.File
}

var (
	_ gofs.NodeAccesser      = (*stagedFile)(nil)
	_ gofs.NodeGetattrer     = (*stagedFile)(nil)
	_ gofs.NodeSetattrer     = (*stagedFile)(nil)
	_ gofs.NodeSetxattrer    = (*stagedFile)(nil)
	_ gofs.NodeRemovexattrer = (*stagedFile)(nil)
	_ gofs.NodeOpener        = (*stagedFile)(nil)
)

func (n *stagedFile) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	write := flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC) != 0
	mask := uint32(fuse.R_OK)
	if write {
		mask = fuse.W_OK
	}
	if errno := n.may(ctx, mask); errno != 0 {
		return nil, 0, errno
	}
	ctx, stop := heeding(ctx)
	defer stop()
	var h *upload.Handle
	var err error
	switch {
	case !write:
		h, err = n.file.OpenRead(ctx)
	case flags&syscall.O_TRUNC != 0:
		h, err = n.file.OpenEmpty(ctx, programOf(ctx))
	default:
		h, err = n.file.OpenWrite(ctx, programOf(ctx))
	}
	if err != nil {
		return nil, 0, n.fail(ctx, "open", "", err)
	}
	if write {
		return &stagedHandle{n, h}, fuse.FOPEN_DIRECT_IO, 0
	}
	return &stagedHandle{n, h}, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH, 0
}

// stagedHandle is an open file of the staging area.
type stagedHandle struct {
	node *stagedFile
	h    *upload.Handle
}

var (
	_ gofs.FileReader   = (*stagedHandle)(nil)
	_ gofs.FileWriter   = (*stagedHandle)(nil)
	_ gofs.FileFlusher  = (*stagedHandle)(nil)
	_ gofs.FileFsyncer  = (*stagedHandle)(nil)
	_ gofs.FileReleaser = (*stagedHandle)(nil)
)

func (h *stagedHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := h.h.ReadAt(ctx, dest, off)
	if err != nil {
		return nil, h.node.fail(ctx, "read", "", err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (h *stagedHandle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	ctx, stop := heeding(ctx)
	defer stop()
	n, err := h.h.WriteAt(ctx, data, off)
	if err != nil && n == 0 { // else the next write says so
		return 0, h.node.fail(ctx, "write", "", err)
	}
	return uint32(n), 0
}

// Flush is a close, the one of a program that was killed included: what that wrote
// isn't known to be whole, and stays staged.
func (h *stagedHandle) Flush(ctx context.Context) syscall.Errno {
	if c, ok := fuse.FromContext(ctx); ok && killed(c.Pid) {
		return syscall.EINTR
	}
	return h.push(ctx, "close", h.h.Flush)
}

func (h *stagedHandle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	return h.push(ctx, "fsync", h.h.Sync)
}

func (h *stagedHandle) push(ctx context.Context, op string, do func(context.Context) error) syscall.Errno {
	ctx, stop := heeding(ctx)
	defer stop()
	if err := do(ctx); err != nil {
		return h.node.fail(ctx, op, "", err)
	}
	return 0
}

func (h *stagedHandle) Release(context.Context) syscall.Errno {
	h.h.Release()
	return 0
}
