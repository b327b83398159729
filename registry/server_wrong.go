package registry

import (
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// Doubt says that the bytes that came of a blob aren't what its digest promises. Its next
// bytes come from the registry itself, and from no mirror, for an hour. Where a URL of its descriptor
// had them, the registry and the other URLs are asked before that one.
func (c *Client) Doubt(r ref.Repository, d digest.Digest) {
	if !c.learnt.hadWrongURL(r, d) {
		c.learnt.hadWrong(r.Host, d)
	}
}

// trusted leaves out the mirrors of a registry where one had the blob wrong, unless there is
// nobody else to ask.
func (c *Client) trusted(es []*endpoint, r ref.Repository, d digest.Digest) []*endpoint {
	last := es[len(es)-1]
	if !last.mirror && c.learnt.isWrong(r.Host, d) {
		return []*endpoint{last}
	}
	return es
}
