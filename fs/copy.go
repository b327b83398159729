package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
)

// maxCopy is the most that one copy_file_range says that it copied, in bytes: its
// answer has 32 bits, and the kernel wants whole pages. maxCopyHere is the most
// that it copies byte by byte, so that it can be interrupted.
const (
	maxCopy     = 1<<32 - 1<<12
	maxCopyHere = 16 << 20
	copyBuffer  = 1 << 20
)

var (
	_ gofs.NodeCopyFileRanger = (*fileNode)(nil)
	_ gofs.NodeCopyFileRanger = (*stagedFile)(nil)
)

// CopyFileRange is what cp does. A blob is copied without its bytes: the registry
// may take it from one repository into another by itself.
func (n *fileNode) CopyFileRange(ctx context.Context, in gofs.FileHandle, offIn uint64, out *gofs.Inode, fhOut gofs.FileHandle, offOut, size, _ uint64) (uint32, syscall.Errno) {
	h, ok := in.(*fileHandle)
	if !ok {
		return 0, syscall.EBADF
	}
	return copyRange(ctx, n, h.content.readAt, int64(offIn), out, fhOut, int64(offOut), size)
}

func (n *stagedFile) CopyFileRange(ctx context.Context, in gofs.FileHandle, offIn uint64, out *gofs.Inode, fhOut gofs.FileHandle, offOut, size, _ uint64) (uint32, syscall.Errno) {
	h, ok := in.(*stagedHandle)
	if !ok {
		return 0, syscall.EBADF
	}
	return copyRange(ctx, n, h.h.ReadAt, int64(offIn), out, fhOut, int64(offOut), size)
}

// copyRange copies into a staged file: from a blob by naming it, from anything else
// by reading.
func copyRange(ctx context.Context, from gofs.InodeEmbedder, readAt func(context.Context, []byte, int64) (int, error), off int64,
	out *gofs.Inode, fhOut gofs.FileHandle, at int64, size uint64) (uint32, syscall.Errno) {
	to, ok := out.Operations().(*stagedFile)
	if !ok {
		return 0, syscall.EROFS
	}
	h, ok := fhOut.(*stagedHandle)
	if !ok {
		return 0, syscall.EBADF
	}
	ctx, stop := heeding(ctx)
	defer stop()
	var n int64
	var err error
	if b, isBlob := blobOf(from); isBlob {
		n, err = h.h.CopyFrom(ctx, b, off, at, int64(min(size, maxCopy)))
	} else {
		n, err = h.copyBytes(ctx, readAt, off, at, int64(min(size, maxCopyHere)))
	}
	if err != nil && n == 0 {
		return 0, to.fail(ctx, "copy_file_range", "", err)
	}
	return uint32(n), 0
}

// copyBytes copies up to size bytes. It has copied some where it gives an error
// besides.
func (h *stagedHandle) copyBytes(ctx context.Context, readAt func(context.Context, []byte, int64) (int, error), off, at, size int64) (done int64, err error) {
	buf := make([]byte, min(size, copyBuffer))
	for done < size {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		n, err := readAt(ctx, buf[:min(size-done, copyBuffer)], off+done)
		if n == 0 || err != nil {
			return done, err
		}
		n, err = h.h.WriteAt(ctx, buf[:n], at+done)
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
