package fs

import (
	"errors"
	"sync"

	"github.com/ocifs/ocifs/cache"
)

// closer is an open file of the cache, by a pointer.
type closer interface {
	comparable
	Close() error
}

// cacheFile is the cache file behind an open content. If the disk can't read it, another one with
// the same bytes takes its place. It is safe for concurrent use. The zero value has no file yet.
type cacheFile[F closer] struct {
	mu   sync.Mutex // guards the fields below
	file F          // nil until it is needed
	bad  []F        // that the disk couldn't read; open until close, as others may read them
}

// maxBad is how many cache files that the disk can't read are replaced in the life of a handle.
const maxBad = 3

// read reads from the file. get brings one if there is none. It is called without the lock, so
// that each reader can be interrupted.
func (c *cacheFile[F]) read(get func() (F, error), read func(f F) (int, error)) (int, error) {
	for {
		f, err := c.have(get)
		if err != nil {
			return 0, err
		}
		n, err := read(f)
		if errors.Is(err, cache.ErrUnreadable) && c.giveUp(f) {
			continue
		}
		return n, atEnd(err)
	}
}

func (c *cacheFile[F]) have(get func() (F, error)) (F, error) {
	var none F
	if f := c.present(); f != none {
		return f, nil
	}
	f, err := get()
	if err != nil {
		return none, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != none { // another reader was first
		f.Close()
		return c.file, nil
	}
	c.file = f
	return f, nil
}

// present gives the file, or nil if it wasn't needed yet.
func (c *cacheFile[F]) present() F {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file
}

// giveUp has another file brought in place of f. false: that was done often enough.
func (c *cacheFile[F]) giveUp(f F) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != f { // another reader was first
		return true
	}
	if len(c.bad) == maxBad {
		return false
	}
	var none F
	c.bad, c.file = append(c.bad, f), none
	return true
}

// close closes the file, after the last read.
func (c *cacheFile[F]) close() {
	var none F
	for _, f := range append(c.bad, c.file) {
		if f != none {
			f.Close()
		}
	}
}
