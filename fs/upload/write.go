package upload

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
)

const (
	// fillBuffer is the size of one read from a blob, in bytes.
	fillBuffer = 1 << 20
	// maxFill is how many bytes one CopyFrom copies at most. Between two calls a copy can
	// be interrupted.
	maxFill = 64 << 20
)

// write writes p at off. The writing turn is held, and the file is pinned on the disk.
func (f *File) write(ctx context.Context, p []byte, off int64) (int, error) {
	disk := f.beforeChange()
	n, err := f.put(disk, p, off)
	kept := err == nil && f.remember(ctx, p, off)
	f.wrote(off, n, kept, err)
	return n, err
}

// beforeChange notes that the bytes are about to change. It gives the file on the disk.
func (f *File) beforeChange() *os.File {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed()
	return f.disk
}

// put writes p to the disk, and reserves room for it. The writing turn is held, and the file
// is pinned on the disk.
func (f *File) put(disk *os.File, p []byte, off int64) (int, error) {
	if err := f.share.grow(off + int64(len(p))); err != nil {
		return 0, err
	}
	n, err := f.writeAt(disk, p, off)
	if isFull(err) {
		f.root.area.o.Tree.MakeRoom(makeRoomEach)
		n, err = disk.WriteAt(p, off)
	}
	return n, noSpace(err)
}

// wrote notes that n bytes were written at off. err is why it is not all of them. kept says that
// the window has them.
func (f *File) wrote(off int64, n int, kept bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed()
	if f.within != nil {
		f.within.layout.activity.note()
	}
	f.overwritten(off)
	end := off + int64(n)
	if n > 0 {
		f.size = max(f.size, end)
	}
	if err != nil {
		f.share.shrink(f.size)
		f.spoil(err)
	}
	if off <= f.front && end > f.front {
		f.front = end
		if kept && f.ahead != nil && f.ahead.window != nil {
			f.ahead.window.grown(end)
		}
		f.sumBehind()
		f.sendAhead()
	}
}

// overwritten drops the hash and the sender if they used bytes at or after off. A reader of
// bytes notes its range in upTo or taken before it reads. So overwritten, which is called
// after the bytes have changed, finds every such reader. mu is held.
func (f *File) overwritten(off int64) {
	if f.sum != nil && off < f.sum.upTo {
		f.sum = nil
	}
	if f.ahead == nil {
		return
	}
	if w := f.ahead.window; w != nil && off < w.end {
		f.ahead.dropWindow()
	}
	if off < f.ahead.taken {
		f.recall()
	}
}

// spoil notes that a write failed, so that the bytes aren't those that were meant. mu is
// held.
func (f *File) spoil(err error) {
	f.broken = err
	f.recall()
}

// fetch copies the bytes of the blob that the file stands for to the disk, before somebody
// changes them. Until all of them are there, the file still stands for the blob: readers see
// its bytes, and an error changes nothing. The writing turn is held, and the file is pinned
// on the disk.
func (f *File) fetch(ctx context.Context) error {
	disk, b, size := f.bytesOn()
	if b.Digest == "" {
		return nil
	}
	fetched := false
	defer func() {
		if !fetched {
			_ = disk.Truncate(0)
			f.share.release()
		}
	}()
	err := f.fill(ctx, b, 0, size, func(p []byte, off int64) (int, error) { return f.put(disk, p, off) })
	if err != nil {
		return err
	}
	fetched = true
	f.owns(b, size)
	return nil
}

// owns notes that the first size bytes of the blob b are on the disk. The file doesn't stand
// for b any more.
func (f *File) owns(b Blob, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content, f.digest, f.sum, f.front = Blob{}, "", nil, size
	f.whole = true // the file is like a known blob: nothing is sent before it is whole
	if size == b.Size {
		f.digest = b.Digest
	}
}

// fill reads n bytes of a blob from off on and passes them to put. at is their offset from
// off.
func (f *File) fill(ctx context.Context, b Blob, off, n int64, put func(p []byte, at int64) (int, error)) error {
	ctx, cancel := f.root.area.under(ctx)
	defer cancel()
	c, err := f.root.area.o.Tree.OpenBlob(ctx, f.lastWriter(), b)
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, min(fillBuffer, n))
	for done := int64(0); done < n; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		k, err := c.ReadAt(buf[:min(int64(len(buf)), n-done)], off+done)
		if _, werr := put(buf[:k], done); werr != nil {
			return werr
		}
		done += int64(k)
		if err != nil && (err != io.EOF || done < n) {
			return fmt.Errorf("copying %s: %w", b.Digest, err)
		}
	}
	return nil
}

// copyFrom copies n bytes of a blob, from its byte off on, to the file's byte at. The writing
// turn is held, and the file is pinned on the disk.
func (f *File) copyFrom(ctx context.Context, b Blob, off, at, n int64) (int64, error) {
	if f.borrow(b, off, at, n) {
		return n, nil
	}
	if err := f.fetch(ctx); err != nil {
		return 0, err
	}
	f.giveUpAhead()
	n = min(n, maxFill)
	err := f.fill(ctx, b, off, n, func(p []byte, done int64) (int, error) { return f.write(ctx, p, at+done) })
	if err != nil {
		f.fail(err)
		return 0, err
	}
	return n, nil
}

// borrow makes the file stand for more of a blob, without copying bytes. That works if the
// file stands for the start of the blob already, or is empty and gets its start.
func (f *File) borrow(b Blob, off, at, n int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	begins := f.size == 0 && off == 0 && at == 0
	goesOn := f.content == b && off == at && at == f.size
	if !begins && !goesOn {
		return false
	}
	f.changed()
	f.recall()
	f.content, f.size, f.sum, f.front = b, at+n, nil, 0
	return true
}

// giveUpAhead gives the sender up. Nothing more is sent before the file is whole.
func (f *File) giveUpAhead() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recall()
	f.whole = true
}

// fail locks mu and calls spoil.
func (f *File) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoil(err)
}

// resize sets the size. The writing turn is held, and the file is pinned on the disk.
func (f *File) resize(ctx context.Context, size int64) error {
	if size < 0 {
		return syscall.EINVAL
	}
	if f.resized(size) {
		return nil
	}
	if err := f.fetch(ctx); err != nil {
		return err
	}
	if err := f.share.grow(size); err != nil {
		return err
	}
	disk := f.beforeChange()
	if err := disk.Truncate(size); err != nil {
		now, _ := f.extent()
		f.share.shrink(now)
		return noSpace(err)
	}
	f.truncated(size)
	return nil
}

// resized sets the size if that needs no I/O, and says whether it did. That is so if the file
// has the size already (buildctl truncates a file to its size when it ends), or if it stood
// for a blob and becomes empty.
func (f *File) resized(size int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if size == 0 {
		f.broken, f.whole = nil, false
	}
	if size == f.size {
		return true
	}
	if size > 0 || !f.isBorrowed() {
		return false
	}
	f.content, f.size, f.sum, f.front = Blob{}, 0, nil, 0
	f.changed()
	return true
}

// truncated notes that the file on the disk has a new size.
func (f *File) truncated(size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.overwritten(size)
	f.front = min(f.front, size)
	f.size = size
	f.share.shrink(size)
	f.changed()
}
