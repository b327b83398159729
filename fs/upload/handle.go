package upload

import (
	"context"
	"io"
	"sync"
	"syscall"
)

// Handle is an open file. It is safe for concurrent use.
type Handle struct {
	f     *File
	write bool
	by    Program // the one that writes; nil: not known

	mu      sync.Mutex // guards all below; no other lock is taken under it
	content Content    // of the blob that the file stands for; nil: it wasn't read yet
	of      Blob       // what content is of
	retired []Content  // of blobs that the file stood for; somebody may still read them
}

// OpenRead opens the file for reading, for a program (nil: not known).
func (f *File) OpenRead(ctx context.Context, by Program) (*Handle, error) {
	if err := f.pin(ctx); err != nil {
		return nil, err
	}
	return &Handle{f: f, by: by}, nil
}

// OpenWrite opens the file for reading and writing, for a program (nil: not known). It waits
// for the cache to take over what was pushed. A blob that the registry has, and that was
// looked up here, becomes staged.
func (f *File) OpenWrite(ctx context.Context, by Program) (*Handle, error) {
	if err := f.root.area.take(ctx, &f.writing); err != nil {
		return nil, err
	}
	defer f.writing.give()
	if err := f.root.takeIn(ctx, f); err != nil {
		return nil, err
	}
	if err := f.pinDisk(ctx); err != nil {
		return nil, err
	}
	f.addWriter(by)
	return &Handle{f: f, write: true, by: by}, nil
}

// OpenEmpty is OpenWrite of a file that is emptied.
func (f *File) OpenEmpty(ctx context.Context, by Program) (*Handle, error) {
	h, err := f.OpenWrite(ctx, by)
	if err != nil {
		return nil, err
	}
	if err := h.truncate(ctx, 0); err != nil {
		h.Release()
		return nil, err
	}
	return h, nil
}

// addWriter counts a handle of a program that may write. The writing turn is held: nobody gives the bytes
// to the cache meanwhile.
func (f *File) addWriter(by Program) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writers++
	f.writer = by
}

// ReadAt reads at an offset; no byte is the end. Where the file stands for a blob,
// it may wait for the network. It waits for no writer.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	disk, b, size := h.f.bytesOn()
	if off >= size {
		return 0, nil
	}
	p = p[:min(int64(len(p)), size-off)]
	if b.Digest == "" {
		n, err := disk.ReadAt(p, off)
		return n, atEnd(err)
	}
	c, err := h.open(ctx, b)
	if err != nil {
		return 0, err
	}
	n, err := c.ReadAt(p, off)
	return n, atEnd(err)
}

func atEnd(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// open gives the bytes of the blob that the file stands for.
func (h *Handle) open(ctx context.Context, b Blob) (Content, error) {
	if c := h.opened(b); c != nil {
		return c, nil
	}
	c, err := h.f.root.area.o.Tree.OpenBlob(ctx, h.by, b) // not under the lock: it may take long
	if err != nil {
		return nil, err
	}
	kept := h.keep(b, c)
	if kept != c { // another reader was first
		c.Close()
	}
	return kept, nil
}

// opened gives the bytes of a blob if they are open, or nil.
func (h *Handle) opened(b Blob) Content {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of != b {
		return nil
	}
	return h.content
}

// keep keeps the bytes of a blob open for the next read, and gives them, or those that were
// kept before.
func (h *Handle) keep(b Blob, c Content) Content {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.content != nil && h.of == b {
		return h.content
	}
	if h.content != nil {
		h.retired = append(h.retired, h.content)
	}
	h.content, h.of = c, b
	return c
}

// WriteAt writes at an offset. It may wait for the bytes of a blob that the file stands for.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	err = h.change(ctx, func() error {
		if err := h.f.fetch(ctx); err != nil {
			return err
		}
		n, err = h.f.write(p, off)
		return err
	})
	return n, err
}

// CopyFrom copies n bytes of a blob, from its byte off on, to at. What is copied
// from its start on isn't brought here: the file then stands for the blob.
func (h *Handle) CopyFrom(ctx context.Context, b Blob, off, at, n int64) (copied int64, err error) {
	n = min(n, b.Size-off)
	err = h.change(ctx, func() error {
		if n <= 0 {
			return nil
		}
		copied, err = h.f.copyFrom(ctx, b, off, at, n)
		return err
	})
	return copied, err
}

// truncate sets the size.
func (h *Handle) truncate(ctx context.Context, size int64) error {
	return h.change(ctx, func() error { return h.f.resize(ctx, size) })
}

// change calls do with the writing turn, which it waits for until ctx or the area ends.
func (h *Handle) change(ctx context.Context, do func() error) error {
	if !h.write {
		return syscall.EBADF
	}
	if err := h.f.root.area.take(ctx, &h.f.writing); err != nil {
		return err
	}
	defer h.f.writing.give()
	return do()
}

// Flush is close(2). Through a handle that can write, it pushes what is to be
// pushed, and gives what came of it.
func (h *Handle) Flush(ctx context.Context) error {
	if !h.write {
		return nil
	}
	h.f.root.touchFileBy(h.f, h.by)
	return h.f.root.commit(ctx, h.f)
}

// Sync is fsync(2): the bytes are on disk, and what is to be pushed is.
func (h *Handle) Sync(ctx context.Context) error {
	if !h.write {
		return nil
	}
	if err := h.f.syncDisk(ctx); err != nil {
		return err
	}
	h.f.root.touchFileBy(h.f, h.by)
	return h.f.root.commit(ctx, h.f)
}

// syncDisk brings the bytes to the disk, as far as they were written when it is called.
// Whoever is interrupted leaves the disk to finish by itself.
func (f *File) syncDisk(ctx context.Context) error {
	if err := f.pin(ctx); err != nil {
		return err
	}
	a := f.root.area
	leave, err := a.enter()
	if err != nil {
		f.letGo()
		return err
	}
	disk, _, _ := f.bytesOn()
	synced := make(chan error, 1)
	go func() {
		defer leave()
		synced <- a.catch(func() error {
			defer f.letGo()
			if disk == nil {
				return nil // it stands for a blob
			}
			return noSpace(disk.Sync())
		})
	}()
	select {
	case err := <-synced:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Release ends the handle. It waits for nothing.
func (h *Handle) Release() {
	for _, c := range h.end() {
		c.Close()
	}
	if h.write {
		h.f.root.writerGone(h.f)
	}
	h.f.letGo()
}

// end gives the contents that are to be closed.
func (h *Handle) end() []Content {
	h.mu.Lock()
	defer h.mu.Unlock()
	closing := h.retired
	if h.content != nil {
		closing = append(closing, h.content)
	}
	h.content, h.retired = nil, nil
	return closing
}
