package known

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocifs/ocifs/registry/ref"
)

// maxChanged is how many repositories are kept with their last change.
const maxChanged = 1024

// changes says whether this mount changed a repository after some moment. An answer of the
// registry that was on its way then may be older than the change. It is safe for concurrent use.
type changes struct {
	mu    sync.Mutex // guards the fields below
	count uint64     // counts all changes
	last  *simplelru.LRU[ref.Repository, uint64]
	// dropped is the highest count that last ever dropped. A repository that isn't in last
	// wasn't changed later than that.
	dropped uint64
}

func newChanges() *changes {
	c := &changes{}
	c.last = newLRU(maxChanged, func(_ ref.Repository, at uint64) { c.dropped = max(c.dropped, at) })
	return c
}

// changed notes a change of a repository by this mount.
func (c *changes) changed(r ref.Repository) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	c.last.Add(r, c.count)
}

// now gives the present moment, for since.
func (c *changes) now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// since says whether a repository was changed, or may have been, after a moment.
func (c *changes) since(r ref.Repository, moment uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.last.Peek(r)
	if !ok {
		at = c.dropped
	}
	return at > moment
}
