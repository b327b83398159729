package node

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// openToWrite opens the file for a program that writes, or truncates it. It waits for a hash of
// the bytes that is under way, and for the cache to take the bytes over, as long as that takes.
// The program can be interrupted.
func (n *fileNode) openToWrite(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	f, ok := n.entry.(WritableFile)
	if !ok {
		return nil, 0, syscall.EROFS
	}
	if errno := n.may(ctx, fuse.W_OK); errno != 0 {
		return nil, 0, errno
	}
	by := callerOf(ctx)
	ctx, stop := by.Heed(ctx)
	defer stop()
	open := f.OpenToWrite
	if flags&syscall.O_TRUNC != 0 {
		open = f.OpenEmptied
	}
	c, err := open(ctx, by)
	if err != nil {
		return nil, 0, n.fail(ctx, "open", err)
	}
	h, opened := n.openedToWrite(c)
	return h, opened, 0
}

// openedToWrite counts a handle that can write. Reads and writes are direct, because the staging
// disk has a page cache of its own.
func (n *fileNode) openedToWrite(c WritableContent) (*writeHandle, uint32) {
	h, flags := n.opened(c)
	return &writeHandle{fileHandle: *h, content: c}, flags
}

// writeHandle is a file that is open for writing.
type writeHandle struct {
	fileHandle
	content WritableContent
}

var (
	_ gofs.FileWriter  = (*writeHandle)(nil)
	_ gofs.FileFlusher = (*writeHandle)(nil)
	_ gofs.FileFsyncer = (*fileHandle)(nil)
)

// Write writes. It may wait for the bytes of the blob that the file stands for.
func (h *writeHandle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	ctx, stop := callerOf(ctx).Heed(ctx)
	defer stop()
	n, err := h.content.WriteAt(ctx, data, off)
	if err != nil && n == 0 { // else the next write fails
		return 0, h.node.fail(ctx, "write", err)
	}
	return uint32(n), 0
}

// Flush is a close, also that of a program that was killed. What a killed program wrote may be
// incomplete, so Flush doesn't push it.
func (h *writeHandle) Flush(ctx context.Context) syscall.Errno {
	by := callerOf(ctx)
	if by.Killed() {
		return syscall.EINTR
	}
	ctx, stop := by.Heed(ctx)
	defer stop()
	if err := h.content.Flush(ctx); err != nil {
		return h.node.fail(ctx, "close", err)
	}
	return 0
}

// Fsync is fsync(2). sync(1) opens a file for reading and calls it.
func (h *fileHandle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	c, ok := h.content.(syncer)
	if !ok {
		return syscall.ENOTSUP
	}
	ctx, stop := callerOf(ctx).Heed(ctx)
	defer stop()
	if err := c.Sync(ctx); err != nil {
		return h.node.fail(ctx, "fsync", err)
	}
	return 0
}
