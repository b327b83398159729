package node

import (
	"context"
	"errors"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/ocifs/ocifs/fs/internal/caller"
)

// Limits on one copy_file_range, in bytes.
const (
	// maxCopy is the most that one call may report: its answer has 32 bits, and the kernel
	// wants whole pages.
	maxCopy = 1<<32 - 1<<12
	// maxCopyHere is the most that one call copies byte by byte, so that it can be
	// interrupted.
	maxCopyHere = 16 << 20
	// copyBuffer is the size of the buffer for that.
	copyBuffer = 1 << 20
)

var _ gofs.NodeCopyFileRanger = (*fileNode)(nil)

// CopyFileRange is the call that cp makes. A blob is copied without its bytes, because the
// registry may be able to mount it from one repository into another. Everything else is copied by
// reading.
func (n *fileNode) CopyFileRange(ctx context.Context, in gofs.FileHandle, offIn uint64, out *gofs.Inode, fhOut gofs.FileHandle, offOut, size, _ uint64) (uint32, syscall.Errno) {
	to, ok := out.Operations().(*fileNode)
	if !ok {
		return 0, syscall.EROFS
	}
	if _, ok := to.entry.(WritableFile); !ok {
		return 0, syscall.EROFS
	}
	h, ok := fhOut.(*writeHandle)
	if !ok {
		return 0, syscall.EBADF
	}
	from, ok := in.(reading)
	if !ok {
		return 0, syscall.EBADF
	}
	by := callerOf(ctx)
	ctx, stop := by.Heed(ctx)
	defer stop()
	copied, err := h.content.CopyFrom(ctx, n.file(), int64(offIn), int64(offOut), int64(min(size, maxCopy)))
	if errors.Is(err, ErrCopyBytes) {
		copied, err = h.copyBytes(ctx, by, from.opened(), int64(offIn), int64(offOut), int64(min(size, maxCopyHere)))
	}
	if err != nil && copied == 0 {
		return 0, to.fail(ctx, "copy_file_range", err)
	}
	return uint32(copied), 0
}

// reading is a handle that can read.
type reading interface{ opened() Content }

func (h *fileHandle) opened() Content { return h.content }

// copyBytes copies up to size bytes. After an error, done says how many were copied.
func (h *writeHandle) copyBytes(ctx context.Context, by caller.Caller, from Content, off, at, size int64) (done int64, err error) {
	buf := make([]byte, min(size, copyBuffer))
	for done < size {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		n, err := from.ReadAt(ctx, by, buf[:min(size-done, copyBuffer)], off+done)
		if n == 0 || err != nil {
			return done, err
		}
		n, err = h.content.WriteAt(ctx, buf[:n], at+done)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
