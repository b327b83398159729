package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
)

// File is a staged file. Its bytes are on the staging disk, or it stands for a blob
// that a repository has, as a copy of one does and what was pushed.
type File struct {
	header
	turn     turn          // to commit it
	sending  turn          // to push its bytes: its own commit and an index that names it do
	link     *Symlink      // stands for it in upload/blobs/, once pushed; guarded by Root.mu
	private  bool          // made for its maker alone, as mkstemp(3) makes files; never changed
	deferred *deferredPush // of its manifest; nil: there was none; guarded by Root.mu
	closed   activity      // the closes of a manifest whose push is deferred

	mu      sync.Mutex // guards all below; after Root.mu in the lock order
	content Blob       // the blob that it stands for; the zero value: its bytes are on disk
	size    int64      // in bytes
	written time.Time  // the last change of bytes, since a time was set
	disk    *os.File   // while refs
	retired []*os.File // what disk was before the cache took it; closed with disk
	refs    int        // users of disk
	within  *Dir       // the layout of its place; nil: no program has opened it
	writers int        // handles that may write
	front   int64      // all bytes before it were written, in order
	sum     *runningSum
	summing *summing
	promise digest.Digest // the digest that its name promises; "": the name doesn't say
	ahead   *ahead        // sends its bytes before it is whole; nil: none does
	once    bool          // nothing is sent ahead any more, until it is emptied
	digest  digest.Digest // of all bytes; "": not known
	changes int           // counts the changes of the bytes or the place
	settled int           // the changes that result is of; -1: none
	result  error         // of the last push
	pushed  bool          // the registry has these bytes
	broken  error         // of a write that failed: the bytes aren't those that were meant, until it is emptied
	// adopting is closed when the cache has taken the bytes over: until then nobody
	// may write them.
	adopting chan struct{}
	emptied  chan struct{} // closed when the push of no byte has ended; nil: there was none
	manifest bool          // the bytes are a manifest's, and not for the blobs of the cache
}

func newFile(h header) *File {
	return &File{header: h, turn: newTurn(), sending: newTurn(), settled: -1}
}

// Attr gives the attributes, the size among them.
func (f *File) Attr() Attr {
	f.mu.Lock()
	size, written := f.size, f.written
	f.mu.Unlock()
	a := f.attr(size)
	if !written.IsZero() {
		a.Mtime = written
	}
	return a
}

// Set changes attributes. A new size truncates.
func (f *File) Set(c Change) error {
	if c.Size != nil {
		h, err := f.Open(true, false, nil)
		if err != nil {
			return err
		}
		defer h.Release()
		if err := h.truncate(f.root.area.ctx, *c.Size); err != nil {
			return err
		}
	}
	f.set(c)
	if c.Mtime != nil {
		f.mu.Lock()
		f.written = time.Time{}
		f.mu.Unlock()
	}
	return nil
}

// Blob is the content that the whole file is known to be, without its bytes being
// here.
func (f *File) Blob() (Blob, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.content.Digest != "" {
		return f.content, f.size == f.content.Size
	}
	if f.pushed && f.digest != "" && !f.manifest {
		return Blob{f.root.repo, f.digest, f.size}, true
	}
	return Blob{}, false
}

// known is the digest of all bytes, or "". mu is held.
func (f *File) known() digest.Digest {
	if f.content.Digest != "" {
		return f.content.Digest
	}
	return f.digest
}

// changed forgets what was known of the bytes. mu is held.
func (f *File) changed() {
	f.changes++
	f.written = time.Now()
	f.digest, f.pushed, f.manifest = "", false, false
}

// hold opens the bytes on disk, and makes the file where there is none yet. Only
// to write is that needed of a file that stands for a blob. Each call is paired with
// one of letGo.
func (f *File) hold(write bool) error {
	if err := f.root.begin(); err != nil {
		return err
	}
	path, within, promise := f.root.placeOf(f)
	orphan := within == nil
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.disk == nil && (write || f.content.Digest == "") {
		if orphan {
			return syscall.ESTALE // nobody can have it open
		}
		disk, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, os.ErrNotExist) {
			if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
				disk, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
			}
		}
		if err != nil {
			return noSpace(err)
		}
		f.disk = disk
	}
	f.refs++
	f.promise, f.within = promise, within
	return nil
}

// placeOf gives the path of a file on the disk, the layout of its place, and the digest that
// its name promises. A file without a name is in no layout.
func (r *Root) placeOf(f *File) (path string, within *Dir, promise digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.parent != nil {
		within = f.parent.layoutDir()
	}
	return f.path(), within, promised(f.parent, f.name)
}

func (f *File) letGo() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.letGoLocked()
}

// letGoLocked is letGo for who holds mu.
func (f *File) letGoLocked() {
	if f.refs--; f.refs > 0 {
		return
	}
	for _, disk := range append(f.retired, f.disk) {
		if disk != nil {
			disk.Close()
		}
	}
	f.disk, f.retired = nil, nil
}

// writeAt writes to the disk. mu is held, and disk.
func (f *File) writeAt(p []byte, off int64) (int, error) {
	grown := max(off+int64(len(p))-f.size, 0)
	if err := f.root.area.reserve(grown); err != nil {
		f.spoil(err)
		return 0, err
	}
	n, err := f.disk.WriteAt(p, off)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		f.root.area.o.Tree.MakeRoom(makeRoomEach)
		n, err = f.disk.WriteAt(p, off)
	}
	f.changed()
	if f.within != nil {
		f.within.layout.activity.note(nil)
	}
	f.overwritten(off)
	size := f.size
	if n > 0 {
		size = max(size, off+int64(n))
	}
	if err != nil {
		_ = f.root.area.reserve(size - f.size - grown) // less than was asked for: never refused
		err = noSpace(err)
		f.spoil(err)
	}
	f.size = size
	if end := off + int64(n); off <= f.front && end > f.front {
		f.front = end
		f.sumBehind()
		f.sendAhead()
	}
	return n, err
}

// overwritten forgets what was made of the bytes from off on. mu is held.
func (f *File) overwritten(off int64) {
	if f.sum != nil && off < f.sum.upTo {
		f.sum = nil
	}
	if f.ahead != nil && off < f.ahead.taken {
		f.recall()
	}
}

// spoil notes that what is here isn't what was meant. mu is held.
func (f *File) spoil(err error) {
	f.broken = err
	f.recall()
}

// fetch brings the bytes of the blob that this stands for to the disk, as someone
// is going to change them. mu is held, and disk.
func (f *File) fetch(ctx context.Context) error {
	if f.content.Digest == "" {
		return nil
	}
	b, size := f.content, f.size
	f.content, f.size, f.sum, f.digest = Blob{}, 0, nil, ""
	f.front, f.once = 0, true // what is like a blob that is known isn't sent before it is whole
	err := f.fill(ctx, b, 0, 0, size)
	if err != nil { // as it was: nothing of it is lost
		_ = f.root.area.reserve(-f.size)
		_ = f.disk.Truncate(0)
		f.content, f.size, f.sum, f.front = b, size, nil, 0
	}
	return err
}

// fill copies n bytes of a blob, from its byte off on, to at. mu is held, and disk.
func (f *File) fill(ctx context.Context, b Blob, off, at, n int64) error {
	c, err := f.root.area.o.Tree.OpenBlob(ctx, b)
	if err != nil {
		return err
	}
	defer c.Close()
	buf := make([]byte, 1<<20)
	for done := int64(0); done < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := c.ReadAt(buf[:min(int64(len(buf)), n-done)], off+done)
		if _, werr := f.writeAt(buf[:k], at+done); werr != nil {
			return werr
		}
		done += int64(k)
		if err != nil && (err != io.EOF || done < n) {
			return fmt.Errorf("copying %s: %w", b.Digest, err)
		}
	}
	return nil
}

// readAll reads a file that may be a manifest or an index: not more than limit
// bytes.
func (f *File) readAll(ctx context.Context, limit int64) ([]byte, error) {
	h, err := f.Open(false, false, nil)
	if err != nil {
		return nil, err
	}
	defer h.Release()
	size := f.Attr().Size
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

// drop frees what the file has on disk, as its last name is gone. Whoever has it
// open reads on. Root.mu is held.
func (f *File) drop(path string) {
	_ = os.Remove(path) // there may be none
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recall()
	if f.content.Digest == "" && f.adopting == nil {
		_ = f.root.area.reserve(-f.size)
	}
}

// noSpace names a full disk.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w (%v)", ErrNoSpace, err)
	}
	return err
}
