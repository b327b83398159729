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

	mu      sync.Mutex
	content Content // of the blob that the file stands for, once it was read
	of      Blob
}

// Open opens the file for a program (nil: not known), for reading or for reading and
// writing. A blob that the registry has, and that was looked up here, becomes staged by
// being opened for writing.
func (f *File) Open(write, truncate bool, by Program) (*Handle, error) {
	if write {
		if err := f.root.stage(f); err != nil {
			return nil, err
		}
		f.addWriter()
	}
	if err := f.hold(write); err != nil {
		if write {
			f.mu.Lock()
			f.writers--
			f.mu.Unlock()
		}
		return nil, err
	}
	h := &Handle{f: f, write: write, by: by}
	if truncate {
		if err := h.truncate(f.root.area.ctx, 0); err != nil {
			h.Release()
			return nil, err
		}
	}
	return h, nil
}

// addWriter waits for the cache to be through with the bytes.
func (f *File) addWriter() {
	for {
		f.mu.Lock()
		adopting := f.adopting
		if adopting == nil {
			f.writers++
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		<-adopting
	}
}

// ReadAt reads at an offset; no byte is the end. Where the file stands for a blob,
// it may wait for the network.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	f := h.f
	f.mu.Lock()
	if off >= f.size {
		f.mu.Unlock()
		return 0, nil
	}
	p = p[:min(int64(len(p)), f.size-off)]
	if f.content.Digest == "" {
		defer f.mu.Unlock()
		n, err := f.disk.ReadAt(p, off)
		return n, atEnd(err)
	}
	b := f.content
	f.mu.Unlock()
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
	h.mu.Lock()
	c := h.content
	if h.of == b && c != nil {
		h.mu.Unlock()
		return c, nil
	}
	h.mu.Unlock()
	c, err := h.f.root.area.o.Tree.OpenBlob(ctx, b) // not under the lock: it may take long
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.content != nil && h.of == b { // another reader was first
		c.Close()
		return h.content, nil
	}
	if h.content != nil {
		h.content.Close()
	}
	h.content, h.of = c, b
	return c, nil
}

// WriteAt writes at an offset.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if !h.write {
		return 0, syscall.EBADF
	}
	f := h.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fetch(ctx); err != nil {
		return 0, err
	}
	return f.writeAt(p, off)
}

// CopyFrom copies n bytes of a blob, from its byte off on, to at. What is copied
// from its start on isn't brought here: the file then stands for the blob.
func (h *Handle) CopyFrom(ctx context.Context, b Blob, off, at, n int64) (int64, error) {
	if !h.write {
		return 0, syscall.EBADF
	}
	n = min(n, b.Size-off)
	if n <= 0 {
		return 0, nil
	}
	f := h.f
	f.mu.Lock()
	defer f.mu.Unlock()
	begins := f.size == 0 && off == 0 && at == 0
	goesOn := f.content == b && off == at && at == f.size
	if begins || goesOn {
		f.changed()
		f.recall()
		f.content, f.size, f.sum, f.front = b, at+n, nil, 0
		return n, nil
	}
	if err := f.fetch(ctx); err != nil {
		return 0, err
	}
	f.recall()
	f.once = true
	n = min(n, 64<<20) // so that it can be interrupted, and goes on
	if err := f.fill(ctx, b, off, at, n); err != nil {
		f.spoil(err)
		return 0, err
	}
	return n, nil
}

// truncate sets the size.
func (h *Handle) truncate(ctx context.Context, size int64) error {
	f := h.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if size < 0 {
		return syscall.EINVAL
	}
	if size == 0 {
		f.broken, f.once = nil, false
	}
	if size == f.size {
		return nil // as buildctl does at its end: no byte changes
	}
	if size == 0 && f.content.Digest != "" {
		f.content, f.size, f.sum, f.front = Blob{}, 0, nil, 0
		f.changed()
		return nil
	}
	if err := f.fetch(ctx); err != nil {
		return err
	}
	if err := f.root.area.reserve(size - f.size); err != nil {
		return err
	}
	if err := f.disk.Truncate(size); err != nil {
		_ = f.root.area.reserve(f.size - size)
		return noSpace(err)
	}
	f.overwritten(size)
	f.front = min(f.front, size)
	f.size = size
	f.changed()
	return nil
}

// Flush is close(2). Through a handle that can write, it pushes what is to be
// pushed, and gives what came of it.
func (h *Handle) Flush(ctx context.Context) error {
	if !h.write {
		return nil
	}
	h.f.root.touchFile(h.f, h.by)
	return h.f.root.commit(ctx, h.f)
}

// Sync is fsync(2): the bytes are on disk, and what is to be pushed is.
func (h *Handle) Sync(ctx context.Context) error {
	if !h.write {
		return nil
	}
	h.f.mu.Lock()
	disk := h.f.disk
	h.f.mu.Unlock()
	if disk != nil {
		if err := disk.Sync(); err != nil {
			return noSpace(err)
		}
	}
	h.f.root.touchFile(h.f, h.by)
	return h.f.root.commit(ctx, h.f)
}

// Release ends the handle.
func (h *Handle) Release() {
	h.mu.Lock()
	if h.content != nil {
		h.content.Close()
		h.content = nil
	}
	h.mu.Unlock()
	f := h.f
	if !h.write {
		f.letGo()
		return
	}
	f.root.touchFile(f, nil)
	unmeant := f.root.roleOf(f).kind == blob // by its digest it was pushed already, if it is that
	f.mu.Lock()
	f.writers--
	last := f.writers == 0
	if last && unmeant {
		f.recall()
	}
	f.closeAhead(last)
	adopt := last && f.pushed && f.content.Digest == ""
	empty := last && f.size == 0 && f.settled != f.changes
	f.mu.Unlock()
	switch {
	case adopt:
		f.root.adopt(f)
	case empty:
		f.root.pushEmpty(f)
	}
	f.letGo()
}

// pushEmpty pushes a file without a byte. As every file begins so, only its last
// close tells that it is meant, and nobody hears what comes of that: it is in
// uploads.json.
func (r *Root) pushEmpty(f *File) {
	if r.roleOf(f).kind != namedBlob {
		return
	}
	leave, err := r.area.enter()
	if err != nil {
		return
	}
	done := make(chan struct{})
	f.mu.Lock()
	f.emptied = done
	f.mu.Unlock()
	go func() {
		defer leave()
		defer close(done)
		if err := r.commitFor(r.area.ctx, f, true); err != nil {
			r.area.log.Warn("an empty blob isn't pushed", "repository", r.repo, "cause", err)
		}
	}()
}
