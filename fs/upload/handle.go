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
	by    Program // the program that opened it; nil: not known

	mu sync.Mutex // guards the fields below; no other lock is taken under it
	// content is the open blob that the file stands for; nil: none was read yet.
	content Content
	// of is the blob that content has.
	of Blob
	// retired are the blobs that the file stood for before. Somebody may still read them.
	retired []Content
}

// OpenRead opens the file for reading, for a program (nil: not known).
func (f *File) OpenRead(ctx context.Context, by Program) (*Handle, error) {
	if err := f.pin(ctx); err != nil {
		return nil, err
	}
	return &Handle{f: f, by: by}, nil
}

// OpenWrite opens the file for reading and writing, for a program (nil: not known). It waits
// while the cache takes over the bytes of a pushed file. A file that was only looked up at
// the registry becomes a staged one.
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

// OpenEmpty opens the file as OpenWrite does, and truncates it to 0 bytes.
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

// addWriter counts a new handle of a program that may write. The writing turn is held, so
// that the cache doesn't take the bytes meanwhile.
func (f *File) addWriter(by Program) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writers++
	f.writer = by
}

// ReadAt reads at an offset. It gives 0 bytes at the end. If the file stands for a blob, it
// may wait for the network. It waits for no writer.
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

// open gives the open bytes of the blob that the file stands for.
func (h *Handle) open(ctx context.Context, b Blob) (Content, error) {
	if c := h.opened(b); c != nil {
		return c, nil
	}
	c, err := h.f.root.area.o.Tree.OpenBlob(ctx, h.by, b) // without the lock: it may take long
	if err != nil {
		return nil, err
	}
	kept := h.keep(b, c)
	if kept != c { // another reader was first
		c.Close()
	}
	return kept, nil
}

// opened gives the bytes of a blob that is open; nil: it isn't.
func (h *Handle) opened(b Blob) Content {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of != b {
		return nil
	}
	return h.content
}

// keep stores the open bytes of a blob for the next read, and gives them. If another reader
// stored the same blob before, keep gives the stored bytes.
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

// WriteAt writes at an offset. It may wait for the bytes of the blob that the file stands
// for.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	err = h.change(ctx, func() error {
		if err := h.f.fetch(ctx); err != nil {
			return err
		}
		n, err = h.f.write(ctx, p, off)
		return err
	})
	return n, err
}

// CopyFrom copies n bytes of a blob, from its byte off on, to the file's byte at. A copy from
// the start of the blob moves no bytes: the file then stands for the blob.
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

// truncate sets the size, in bytes.
func (h *Handle) truncate(ctx context.Context, size int64) error {
	return h.change(ctx, func() error { return h.f.resize(ctx, size) })
}

// change calls do while it holds the writing turn. It waits for the turn until ctx or the
// area ends.
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

// Flush is close(2). If the handle can write, Flush pushes the file by its role, and returns
// the error of the push.
func (h *Handle) Flush(ctx context.Context) error {
	if !h.write {
		return nil
	}
	h.f.root.touchFileBy(h.f, h.by)
	return h.f.root.commit(ctx, h.f)
}

// Sync is fsync(2). It syncs the bytes to the disk, and pushes the file by its role.
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

// syncDisk syncs the bytes that are written when it is called. If ctx ends first, the sync
// goes on by itself.
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
				return nil // the file stands for a blob
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

// Release ends the handle. It doesn't wait.
func (h *Handle) Release() {
	for _, c := range h.end() {
		c.Close()
	}
	if h.write {
		h.f.root.writerGone(h.f)
	}
	h.f.letGo()
}

// end gives the contents to close, and forgets them.
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
