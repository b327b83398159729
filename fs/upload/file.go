package upload

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// File is a staged file. Its bytes are on the staging disk, or it stands for a blob
// that a repository has, as a copy of one does and what was pushed.
//
// The holder of the writing turn alone changes the bytes: it writes, truncates, brings the
// bytes of the blob here, hashes all of them, or gives them to the cache. Reads take no turn:
// they see what is on the disk, or what the blob has.
type File struct {
	header
	committing turn          // to push the file by its role
	sending    turn          // to send its bytes: its own commit and an index that names it do
	writing    turn          // to change the bytes, or to hash all of them
	share      share         // its bytes on the staging disk
	made       Manner        // how its program made it; never changed
	link       *Symlink      // stands for it in upload/blobs/, once pushed; guarded by Root.mu
	stagedAt   digest.Digest // its key in Root.staged; "": it has none; guarded by Root.mu
	deferred   *deferredPush // of its manifest; nil: there was none; guarded by Root.mu
	closes     activity      // the closes of a manifest whose push is deferred

	// mu guards all below, and no more than these fields: nobody holds it over I/O, a hash or a
	// wait. It comes after Root.mu in the lock order.
	mu       sync.Mutex
	content  Blob          // the blob that it stands for; the zero value: its bytes are on disk
	size     int64         // in bytes
	written  time.Time     // the last change of bytes; zero: header.mtime was set since
	disk     *os.File      // nil: nobody uses it, or only the bytes of the blob
	retired  []*os.File    // what disk was before the cache took it; closed with disk
	refs     int           // counts the users of disk
	unlinked bool          // its last name is gone
	within   *Dir          // the layout of its place; nil: no program has opened it
	writers  int           // counts the handles that may write
	writer   Program       // the program that opened it to write last; nil: not known
	front    int64         // in bytes: all before it were written, in order
	sum      *runningSum   // nil: no byte is hashed
	summing  *summing      // nil: nobody hashes behind the writer
	promise  digest.Digest // the digest that its name promises; "": the name doesn't say
	ahead    *ahead        // sends its bytes before it is whole; nil: none does
	whole    bool          // nothing more is sent before the file is whole, until it is emptied
	digest   digest.Digest // of all bytes; "": not known
	changes  int           // counts the changes of the bytes or the place
	resultOf int           // the changes that result is of; -1: none
	result   error         // of the last push; nil: it succeeded, or there was none
	pushed   bool          // the registry has these bytes
	manifest bool          // the bytes are a manifest's, and not for the blobs of the cache
	// broken is the error of a write that failed, until the file is emptied: the bytes aren't
	// those that were meant. nil: no write failed.
	broken error
	// emptyPush is closed when the push of a file without a byte has ended; nil: there was none.
	emptyPush chan struct{}
}

func newFile(h header) *File {
	a := h.root.area
	return &File{
		header: h,
		share:  share{of: &a.budget}, closes: activity{now: a.now}, resultOf: -1,
	}
}

// Attr gives the attributes, the size among them.
func (f *File) Attr() Attr {
	size, written := f.extent()
	a := f.attr(size)
	if !written.IsZero() {
		a.Mtime = written
	}
	return a
}

// extent gives the size, in bytes, and when bytes last changed; zero: a time was set since.
func (f *File) extent() (size int64, written time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size, f.written
}

// Set changes attributes. A new size truncates, which may wait for a blob's bytes.
func (f *File) Set(ctx context.Context, by Program, c Change) error {
	if c.Size != nil {
		if err := f.truncate(ctx, by, *c.Size); err != nil {
			return err
		}
	}
	f.set(c)
	if c.Mtime != nil {
		f.timed()
	}
	return nil
}

// timed has the modification time be the one that was set.
func (f *File) timed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written = time.Time{}
}

// truncate sets the size, as a program does that has no handle.
func (f *File) truncate(ctx context.Context, by Program, size int64) error {
	h, err := f.OpenWrite(ctx, by)
	if err != nil {
		return err
	}
	defer h.Release()
	return h.truncate(ctx, size)
}

// Blob gives the content that the whole file is known to be. ok is false if it isn't known,
// or no repository has it.
func (f *File) Blob() (b Blob, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isBorrowed() {
		return f.content, f.size == f.content.Size
	}
	if f.pushed && f.digest != "" && !f.manifest {
		return Blob{f.root.repo, f.digest, f.size}, true
	}
	return Blob{}, false
}

// isBorrowed says whether the file stands for a blob. mu is held.
func (f *File) isBorrowed() bool { return f.content.Digest != "" }

// known is the digest of all bytes, or "". mu is held.
func (f *File) known() digest.Digest {
	if f.isBorrowed() {
		return f.content.Digest
	}
	return f.digest
}

// knownAs is the digest of all bytes with an algorithm, or "".
func (f *File) knownAs(algo digest.Algorithm) digest.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.known()
	if d == "" || d.Algorithm() != algo || f.isBorrowed() && f.size != f.content.Size {
		return ""
	}
	return d
}

// changed notes that the bytes change: what was known of them isn't true any more. A change
// of bytes is noted before it, and again after it, so that whoever read meanwhile keeps
// nothing of what it read. mu is held.
func (f *File) changed() {
	f.changes++
	f.written = f.root.area.now()
	f.digest, f.pushed, f.manifest = "", false, false
}

// isPushedAs says whether the registry has the bytes of a file, and their digest is d.
func (f *File) isPushedAs(d digest.Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pushed && f.known() == d
}

// lastWriter gives the program that opened the file to write last; nil: it isn't known.
func (f *File) lastWriter() Program {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writer
}

// isWritten says whether a program has the file open to write it: its close pushes it.
func (f *File) isWritten() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writers > 0
}
