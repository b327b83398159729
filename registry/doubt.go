package registry

import (
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// doubtFor is how long a mirror isn't asked for a blob that it had wrong.
const doubtFor = time.Hour

// doubt is a blob that a mirror had wrong.
type doubt struct {
	host   string
	digest digest.Digest
}

// Doubt says that what came of a blob isn't what its digest promises. Its next bytes
// come from the registry itself, and from no mirror, for an hour.
func (c *Client) Doubt(r ref.Repository, d digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for old, until := range c.doubted {
		if now.After(until) {
			delete(c.doubted, old)
		}
	}
	c.doubted[doubt{r.Host, d}] = now.Add(doubtFor)
}

// trusted leaves out the mirrors that aren't to be asked for a blob, unless there is
// nobody else.
func (c *Client) trusted(es []*endpoint, r ref.Repository, d digest.Digest) []*endpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := es[len(es)-1]
	if time.Now().Before(c.doubted[doubt{r.Host, d}]) && !last.mirror {
		return []*endpoint{last}
	}
	return es
}
