package known

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocifs/ocifs/registry/ref"
)

// maxChanged is how many repositories are remembered with their last change.
const maxChanged = 1024

// changes tells whether this mount changed a repository since a moment: an answer that is on
// its way from the registry may be of before. It is safe for concurrent use.
type changes struct {
	mu    sync.Mutex // guards all below
	count uint64     // of all changes
	last  *simplelru.LRU[ref.Repository, uint64]
	// forgotten is the count of the latest change that isn't in last any more. A repository
	// that isn't in last had its change at that count at the latest.
	forgotten uint64
}

func newChanges() *changes {
	c := &changes{}
	l, err := simplelru.NewLRU(maxChanged, func(_ ref.Repository, at uint64) { c.forgotten = max(c.forgotten, at) })
	if err != nil {
		panic(err) // the size is positive
	}
	c.last = l
	return c
}

// changed notes that this mount changes a repository.
func (c *changes) changed(r ref.Repository) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	c.last.Add(r, c.count)
}

// now gives the moment for since.
func (c *changes) now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// since says whether a repository was changed since a moment, or may have been.
func (c *changes) since(r ref.Repository, moment uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.last.Peek(r)
	if !ok {
		at = c.forgotten
	}
	return at > moment
}
