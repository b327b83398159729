package fs

import (
	"context"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/upload"
)

// stagedFile is a file of the staging area.
type stagedFile struct {
	staged
	file *upload.File
}

func (f *stagedFile) Open(ctx context.Context, by caller.Caller) (node.Content, error) {
	h, err := f.file.OpenRead(ctx, payer{guard.PayerOf(by)})
	if err != nil {
		return nil, stagedError(err)
	}
	return &stagedContent{h}, nil
}

func (f *stagedFile) OpenToWrite(ctx context.Context, by caller.Caller) (node.WritableContent, error) {
	h, err := f.file.OpenWrite(ctx, programOf(by))
	if err != nil {
		return nil, stagedError(err)
	}
	return &stagedContent{h}, nil
}

func (f *stagedFile) OpenEmptied(ctx context.Context, by caller.Caller) (node.WritableContent, error) {
	h, err := f.file.OpenEmpty(ctx, programOf(by))
	if err != nil {
		return nil, stagedError(err)
	}
	return &stagedContent{h}, nil
}

// stagedContent is an open file of the staging area.
type stagedContent struct{ handle *upload.Handle }

func (c *stagedContent) ReadAt(ctx context.Context, _ caller.Caller, p []byte, off int64) (int, error) {
	n, err := c.handle.ReadAt(ctx, p, off)
	return n, stagedError(err)
}

func (c *stagedContent) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	n, err := c.handle.WriteAt(ctx, p, off)
	return n, stagedError(err)
}

// CopyFrom copies a blob by reference, without its bytes.
func (c *stagedContent) CopyFrom(ctx context.Context, from node.Entry, off, at, n int64) (int64, error) {
	b, ok := blobOf(from)
	if !ok {
		return 0, node.ErrCopyBytes
	}
	copied, err := c.handle.CopyFrom(ctx, b, off, at, n)
	return copied, stagedError(err)
}

func (c *stagedContent) Flush(ctx context.Context) error {
	return stagedError(c.handle.Flush(ctx))
}

func (c *stagedContent) Sync(ctx context.Context) error { return stagedError(c.handle.Sync(ctx)) }

func (c *stagedContent) Way() node.Way { return node.Way{Mode: node.Direct} }
func (c *stagedContent) Close()        { c.handle.Release() }
