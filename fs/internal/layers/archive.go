package layers

import (
	"errors"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
)

// Archive is the unpacked bytes of a layer, open to read. It is safe for concurrent use.
type Archive struct {
	*cache.File
	of *archives

	refs int         // how many have it open; archives.mu guards it
	idle *time.Timer // closes the file when nobody has it open for keepOpen; archives.mu guards it
}

// ReadAt reads as io.ReaderAt does. If the disk can't read the file, the next who opens the layer
// gets another one.
func (a *Archive) ReadAt(p []byte, off int64) (int, error) {
	n, err := a.File.ReadAt(p, off)
	if errors.Is(err, cache.ErrUnreadable) {
		a.of.drop(a)
	}
	return n, err
}

// Close gives the archive back. Each holder calls it once.
func (a *Archive) Close() error { return a.of.close(a) }

// keepOpen is how long the file of a layer stays open after its last use: a program that reads many
// small files opens one after the other. The cache evicts no file that is open.
const keepOpen = time.Second

// archives are the layers whose files are open. A program that reads the files of an image one
// after the other opens the layer once, and not with each of them.
type archives struct {
	mu     sync.Mutex // guards the fields below, and refs and idle of each Archive
	open   map[digest.Digest]*Archive
	closed bool // nothing is kept open any more
}

// get gives a layer that is open; nil: none is.
func (as *archives) get(d digest.Digest) *Archive {
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.open[d]
	if a != nil {
		a.refs++
		a.idle.Stop()
	}
	return a
}

// add takes over a file that was opened.
func (as *archives) add(f *cache.File) *Archive {
	a := &Archive{File: f, of: as, refs: 1}
	a.idle = time.AfterFunc(time.Hour, func() { as.tidy(a) })
	a.idle.Stop()
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.open == nil {
		as.open = map[digest.Digest]*Archive{}
	}
	if as.open[f.Digest()] == nil && !as.closed { // else another was first, and this one isn't shared
		as.open[f.Digest()] = a
	}
	return a
}

func (as *archives) close(a *Archive) error {
	as.mu.Lock()
	defer as.mu.Unlock()
	a.refs--
	switch {
	case a.refs > 0:
		return nil
	case as.open[a.Digest()] == a:
		a.idle.Reset(keepOpen)
		return nil
	}
	return a.File.Close()
}

// tidy closes an archive that nobody uses.
func (as *archives) tidy(a *Archive) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if a.refs == 0 && as.open[a.Digest()] == a {
		delete(as.open, a.Digest())
		a.File.Close()
	}
}

// drop has the next who opens the layer open it anew.
func (as *archives) drop(a *Archive) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.open[a.Digest()] == a {
		delete(as.open, a.Digest())
	}
}

// closeAll closes what nobody uses, and keeps nothing open any more.
func (as *archives) closeAll() {
	as.mu.Lock()
	defer as.mu.Unlock()
	as.closed = true
	for d, a := range as.open {
		delete(as.open, d)
		if a.idle.Stop(); a.refs == 0 {
			a.File.Close()
		}
	}
}
