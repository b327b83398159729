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

// pin keeps the bytes of the file readable until letGo is called: on the disk, unless the
// file stands for a blob.
func (f *File) pin(ctx context.Context) error {
	return f.open(ctx, func() bool { return f.disk != nil || f.isBorrowed() })
}

// pinDisk is pin for who is going to change the bytes: the file is open on the disk, and made
// there where there is none yet.
func (f *File) pinDisk(ctx context.Context) error {
	return f.open(ctx, func() bool { return f.disk != nil })
}

// open counts a user of the file. It opens the bytes on the disk unless enough says that this
// isn't needed, for which it holds mu.
func (f *File) open(ctx context.Context, enough func() bool) error {
	r := f.root
	if r.count(f, enough) {
		return nil
	}
	if r.area.ctx.Err() != nil { // nothing is made anew in a directory that Close looks through
		return ErrClosed
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	// The path is that of this moment, for as long as the tree keeps its shape.
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

// openStaged opens a file on the staging disk, and makes it where there is none.
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

// count counts a user of the file, if enough says so.
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

// use counts a user of the file, and notes what its place says. Root.mu and mu are held.
func (f *File) use() {
	f.refs++
	f.promise, f.within = promised(f.parent, f.name), nil
	if f.parent != nil { // a file without a name is in no layout
		f.within = f.parent.layoutDir()
	}
}

// placeOf gives the path of a file on the disk. named is false if it has no name any more.
func (r *Root) placeOf(f *File) (path string, named bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f.path(), f.parent != nil && f.parent.children[f.name] == f
}

// letGo ends a use of the file. The last one closes it on the disk, and gives the room of a
// file back that has no name any more.
func (f *File) letGo() {
	closing, gone := f.uncount()
	for _, disk := range closing {
		disk.Close()
	}
	if gone {
		f.share.release()
	}
}

// uncount is letGo, without I/O: it gives what is to be closed. gone says that nothing of the
// file is on the disk afterwards.
func (f *File) uncount() (closing []*os.File, gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refs--
	if f.refs > 0 {
		return nil, false
	}
	closing = f.retired
	if f.disk != nil {
		closing = append(closing, f.disk)
	}
	f.disk, f.retired = nil, nil
	return closing, f.unlinked
}

// unlink notes that the last name of the file is gone. Whoever has it open reads on, and holds
// its room until then.
func (f *File) unlink() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recall()
	f.unlinked = true
	if f.refs == 0 {
		f.share.release()
	}
}

// bytesOn gives where the file's bytes are: on the disk, or the blob that it stands for.
func (f *File) bytesOn() (disk *os.File, b Blob, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.disk, f.content, f.size
}

// source opens the bytes that are pushed.
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

// readAll reads a file that may be a manifest or an index: not more than limit bytes.
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

// noSpace names a full disk.
func noSpace(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w (%v)", ErrNoSpace, err)
	}
	return err
}

// isFull says whether an error is of a disk that is full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
