package upload

import "github.com/opencontainers/go-digest"

// lastClose says what to do after a handle that could write was released.
type lastClose int

const (
	nothingClosed lastClose = iota // others can still write, or there is nothing to do
	pushedClosed                   // the registry has the bytes, and nobody can write them
	emptyClosed                    // nobody can write the file, and it has no byte
)

// writerGone handles the release of a handle that could write.
func (r *Root) writerGone(f *File) {
	r.touchFile(f)
	switch f.removeWriter(r.roleOf(f).kind) {
	case pushedClosed:
		r.adopt(f)
	case emptyClosed:
		r.pushEmpty(f)
	}
}

// removeWriter uncounts a handle that could write. kind is the role of the file's place.
func (f *File) removeWriter(kind roleKind) lastClose {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writers--
	if f.writers > 0 {
		return nothingClosed
	}
	if kind == blob { // the close has pushed it, if its digest is right
		f.recall()
	}
	f.endAhead()
	switch {
	case f.pushed && !f.isBorrowed():
		return pushedClosed
	case f.size == 0 && f.broken == nil && f.resultOf != f.changes:
		return emptyClosed
	}
	return nothingClosed
}

// pushEmpty pushes a file without bytes. Every file begins without bytes, so only the last close
// says that it is meant to be empty. No program gets the result, which is in uploads.json.
func (r *Root) pushEmpty(f *File) {
	if r.roleOf(f).kind != namedBlob {
		return
	}
	a := r.area
	leave, err := a.enter()
	if err != nil {
		return
	}
	done := f.beginEmptyPush()
	go func() {
		defer leave()
		defer close(done)
		if err := a.catch(func() error { return r.commitEmpty(a.ctx, f) }); err != nil {
			a.log.Warn("an empty blob isn't pushed", "repository", r.repo, "cause", err)
			a.record(r.repo, digest.Canonical.FromString("").String(), err)
		}
	}()
}

// beginEmptyPush gives the channel to close when the push has ended.
func (f *File) beginEmptyPush() chan struct{} {
	done := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.emptyPush = done
	return done
}
