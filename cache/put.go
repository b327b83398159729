package cache

import (
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Put keeps b, which must have the digest d. It is for what is small; larger things come by Get. The
// blob can be opened when Put returns, and is synced and named later.
func (s *Store) Put(d digest.Digest, b []byte) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	if got := d.Algorithm().FromBytes(b); got != d {
		return fmt.Errorf("%w: %d bytes of %s are %s", ErrMismatch, len(b), d, got)
	}
	size := int64(len(b))
	if s.has(d, size) || size > s.limit() || s.spoiled(d) {
		return nil
	}
	return s.later(d, size, func() (*partial, error) {
		p, err := s.privateFile(s.partial(d))
		if err != nil {
			return nil, err
		}
		if p.path == "" { // a file without a name is kept nowhere
			p.f.Close()
			return nil, fmt.Errorf("keep %s: the cache directory can't be written", d)
		}
		if err := s.write(p.f, b, 0); err != nil {
			s.abandon(p, true)
			return nil, err
		}
		return p, nil
	})
}
