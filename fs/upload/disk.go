package upload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ocifs/ocifs/registry"
)

// pin keeps the bytes of the file readable until letGo is called. It opens the file on the disk,
// unless the file stands for a blob.
func (f *File) pin(ctx context.Context) error {
	return f.open(ctx, func() bool { return f.disk != nil || f.isBorrowed() })
}

// pinDisk is pin for callers that change the bytes. It always opens the file on the disk, and
// makes it there if it is missing.
func (f *File) pinDisk(ctx context.Context) error {
	return f.open(ctx, func() bool { return f.disk != nil })
}

// open counts a use of the file. It opens the file on the disk, unless enough says that this
// isn't needed. enough is called with Root.mu and mu held.
func (f *File) open(ctx context.Context, enough func() bool) error {
	r := f.root
	if r.count(f, enough) {
		return nil
	}
	if r.area.ctx.Err() != nil { // Close looks through the directory, so nothing new is made in it
		return ErrClosed
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	// The path is valid as long as the shape turn is held.
	if err := r.area.take(ctx, &r.shape); err != nil {
		return err
	}
	defer r.shape.give()
	if r.count(f, enough) {
		return nil
	}
	path, named := r.placeOf(f)
	if !named {
		return syscall.ESTALE // nobody can have it open
	}
	disk, err := openStaged(path)
	if err != nil {
		return noSpace(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.disk = disk
	f.use()
	return nil
}

// openStaged opens a file on the staging disk, and makes it if it is missing.
func openStaged(path string) (*os.File, error) {
	disk, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if !errors.Is(err, os.ErrNotExist) {
		return disk, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// count counts a use of the file if enough says so.
func (r *Root) count(f *File, enough func() bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !enough() {
		return false
	}
	f.use()
	return true
}

// use counts a use of the file, and notes what its place says. Root.mu and mu are held.
func (f *File) use() {
	f.refs++
	f.promise, f.within = promised(f.parent, f.name), nil
	f.unnamed = isUnnamed(f.parent, f.name)
	if f.parent != nil { // a file without a name is in no layout
		f.within = f.parent.layoutDir()
	}
}

// placeOf gives the path of a file on the disk. named is false if the file has no name any more.
func (r *Root) placeOf(f *File) (path string, named bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f.path(), f.parent != nil && f.parent.children[f.name] == f
}

// letGo ends a use of the file. The last one closes the file on the disk. If the file also has no
// name any more, its room is given back.
func (f *File) letGo() {
	closing, gone := f.uncount()
	for _, disk := range closing {
		disk.Close()
	}
	if gone {
		f.share.release()
	}
}

// uncount ends a use of the file without I/O. It gives the files to close. gone says that the
// file's bytes leave the disk when they are closed.
func (f *File) uncount() (closing []*os.File, gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refs--
	if f.refs > 0 {
		return nil, false
	}
	f.retire()
	closing, f.retired = f.retired, nil
	return closing, f.unlinked
}

// retire notes that the file isn't on the disk any more, or that nobody uses it there. mu is held.
func (f *File) retire() {
	for _, disk := range []*os.File{f.disk, f.direct} {
		if disk != nil {
			f.retired = append(f.retired, disk)
		}
	}
	f.disk, f.direct = nil, nil
}

// unlink notes that the last name of the file is gone. Those who have it open can still read it,
// and it keeps its room until they let go.
func (f *File) unlink() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recall()
	f.unlinked = true
	if f.refs == 0 {
		f.share.release()
	}
}

// bytesOn gives where the bytes of the file are: on disk, or in the blob b that it stands for.
func (f *File) bytesOn() (disk *os.File, b Blob, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.disk, f.content, f.size
}

// source opens the bytes of the file for a push.
func (f *File) source(ctx context.Context) (registry.Source, error) {
	if err := f.pin(ctx); err != nil {
		return nil, err
	}
	disk, b, _ := f.bytesOn()
	if b.Digest == "" {
		return newSource(f, disk), nil
	}
	defer f.letGo()
	return f.root.area.o.Tree.OpenBlob(ctx, f.lastWriter(), b)
}

// readAll reads a file that may be a manifest or an index. It refuses more than limit bytes.
func (f *File) readAll(ctx context.Context, limit int64) ([]byte, error) {
	h, err := f.OpenRead(ctx, f.lastWriter())
	if err != nil {
		return nil, err
	}
	defer h.Release()
	size, _ := f.extent()
	if size > limit {
		return nil, fmt.Errorf("%w: it has %d bytes, and more than %d MiB aren't read", ErrNoManifest, size, limit>>20)
	}
	b := make([]byte, size)
	for n := 0; n < len(b); {
		k, err := h.ReadAt(ctx, b[n:], int64(n))
		if err != nil {
			return nil, err
		}
		if k == 0 {
			return b[:n], nil
		}
		n += k
	}
	return b, nil
}

// noSpace wraps the error of a full disk into ErrNoSpace.
func noSpace(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w (%v)", ErrNoSpace, err)
	}
	return err
}

// isFull says whether an error means that the disk, or a quota on it, is full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
