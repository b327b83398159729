package cache

import (
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Put keeps b, which must have the digest d. It is for what is small; larger things come by Get. The
// blob can be opened when Put returns. It is synced and named later. What is larger than the bound
// isn't kept, nor is what the disk damages again and again: that is no error. Nobody waits for the disk
// here: what comes while maxLater blobs wait for it is ErrBehind.
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
	err := s.later(d, size, 0, false, func() (p *partial, err error) {
		err = s.withRoom(size, func() error {
			p, err = s.namedPrivateFile(s.partial(d))
			return err
		})
		if err != nil {
			s.degrade(err)
			return nil, err
		}
		if err := s.write(p.f, b, 0); err != nil {
			s.abandon(p, true)
			return nil, err
		}
		return p, nil
	})
	if err != nil {
		return fmt.Errorf("keep %s: %w", d, err)
	}
	return nil
}
