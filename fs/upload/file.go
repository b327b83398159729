package upload

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

// File is a staged file. Its bytes are on the staging disk, or it stands for a blob that a
// repository has. It stands for a blob if it is a copy of the blob, or if it was pushed.
//
// Only the holder of the writing turn changes the bytes: it writes, truncates, copies the
// bytes of a blob to the disk, hashes all bytes, or hands them over to the cache. Reads take
// no turn. They see the present bytes of the disk or of the blob.
type File struct {
	header
	committing turn // held to push the file by its role
	// sending is held to send the bytes. The file's own commit does that, and the push of
	// an index that names the file.
	sending turn
	writing turn   // held to change the bytes, or to hash all of them
	share   share  // the room of its bytes on the staging disk
	made    Manner // how its program made it; never changed
	// link is the symlink that is shown in its place in upload/blobs/, once it is pushed;
	// guarded by Root.mu.
	link *Symlink
	// stagedAt is its key in Root.staged; "": it isn't in there; guarded by Root.mu.
	stagedAt digest.Digest
	// deferred is the deferred push of its manifest; nil: there was none; guarded by
	// Root.mu.
	deferred *deferredPush
	// closes is when it was last closed; used while the push of its manifest is deferred.
	closes activity

	// mu guards the fields below. Nobody holds it over I/O, a hash or a wait. It comes
	// after Root.mu in the lock order.
	mu sync.Mutex
	// content is the blob that the file stands for; zero: the bytes are on the disk.
	content Blob
	size    int64 // in bytes
	// written is the last change of the bytes; zero: header.mtime was set since.
	written time.Time
	// disk is the open file on the staging disk. nil: nobody uses the file, or only the
	// blob's bytes.
	disk *os.File
	// direct is disk, opened for writes that go past the page cache; nil: there was none yet.
	direct *os.File
	// indirect says that no write goes past the page cache, because one failed or too many were slow.
	indirect bool
	// pace is how long its writes take; guarded by writing.
	pace pace
	// slowness counts the direct writes that the readers of the window waited for, by slowWrite
	// each, less the others.
	slowness int
	// retired are the earlier values of disk and direct, from before the cache took the bytes over.
	// They are closed with disk.
	retired []*os.File
	// refs counts the uses of the file, each ended by letGo. The last one closes disk.
	refs     int
	unlinked bool // the last name is gone
	// within is the layout directory of its place; nil: no program has opened it.
	within  *Dir
	writers int // counts the handles that may write
	// writer is the program that last opened it for writing; nil: not known.
	writer Program
	// front is how many bytes, from the start on, were written in order.
	front int64
	// sum is the hash of the first bytes; nil: none are hashed.
	sum *runningSum
	// summing is the goroutine that hashes behind the writer; nil: there is none.
	summing *summing
	// promise is the digest that its name promises; "": the name promises none.
	promise digest.Digest
	// unnamed says that its place makes it a blob, under a name that promises no digest.
	unnamed bool
	// ahead sends the bytes before the file is whole; nil: nobody does.
	ahead *ahead
	// whole says that no new sender starts before the file is whole. Emptying the file
	// clears it.
	whole bool
	// digest is that of all bytes; "": not known.
	digest digest.Digest
	// changes counts the changes of the bytes or the place.
	changes int
	// resultOf is the value of changes to which result belongs; -1: there is no result.
	resultOf int
	// result is the error of the last push; nil: it succeeded, or there was none.
	result error
	pushed bool // the registry has these bytes
	// manifest says that the bytes are a manifest. The cache doesn't take those over.
	manifest bool
	// broken is the error of a failed write; nil: none failed. The bytes then aren't
	// those that were meant. Emptying the file clears it.
	broken error
	// emptyPush is closed when the push of the file without bytes has ended; nil: there
	// was none.
	emptyPush chan struct{}
}

func newFile(h header) *File {
	a := h.root.area
	return &File{
		header: h,
		share:  share{of: &a.budget}, closes: activity{now: a.now}, resultOf: -1,
	}
}

// Attr gives the attributes, with the size.
func (f *File) Attr() Attr {
	size, written := f.extent()
	a := f.attr(size)
	if !written.IsZero() {
		a.Mtime = written
	}
	return a
}

// extent gives the size in bytes, and when the bytes last changed; zero: a time was set
// since.
func (f *File) extent() (size int64, written time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size, f.written
}

// Set changes attributes. A new size truncates the file, and may wait for the bytes of a
// blob.
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

// timed makes the modification time that was set the valid one.
func (f *File) timed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.written = time.Time{}
}

// truncate sets the size for a program that has no handle.
func (f *File) truncate(ctx context.Context, by Program, size int64) error {
	h, err := f.OpenWrite(ctx, by)
	if err != nil {
		return err
	}
	defer h.Release()
	return h.truncate(ctx, size)
}

// Blob gives the blob whose bytes the whole file has. ok is false if that isn't known, or if
// no repository has the blob.
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

// known gives the digest of all bytes; "": not known. mu is held.
func (f *File) known() digest.Digest {
	if f.isBorrowed() {
		return f.content.Digest
	}
	return f.digest
}

// knownAs gives the digest of all bytes with an algorithm; "": not known.
func (f *File) knownAs(algo digest.Algorithm) digest.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.known()
	if d == "" || d.Algorithm() != algo || f.isBorrowed() && f.size != f.content.Size {
		return ""
	}
	return d
}

// changed notes a change of the bytes, and drops what was known of them. A writer calls it
// before the change and again after it, so that a concurrent reader can't keep a result of
// bytes that were changing. mu is held.
func (f *File) changed() {
	f.changes++
	f.written = f.root.area.now()
	f.digest, f.pushed, f.manifest = "", false, false
}

// isPushedAs says whether the registry has the bytes of the file, with the digest d.
func (f *File) isPushedAs(d digest.Digest) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pushed && f.known() == d
}

// lastWriter gives the program that last opened the file for writing; nil: not known.
func (f *File) lastWriter() Program {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writer
}

// isWritten says whether a program has the file open for writing. Its close pushes the file.
func (f *File) isWritten() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writers > 0
}
