package cache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
)

// Adopt moves a file from Staging into the store. The caller vouches for its digest,
// and nobody may write to it any more. What the store has already is as good: the
// file is removed then. An error leaves it where it is. The blob can be opened when Adopt returns.
// A goroutine syncs the blob and names it later. If the sync or the naming fails, the file is removed.
// Adopt waits if maxLater blobs wait for the disk, until one of them has its place.
func (s *Store) Adopt(d digest.Digest, size int64, path string) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("adopt %q: %w", d, err)
	}
	if s.has(d, size) {
		return os.Remove(path)
	}
	if limit := min(s.Bound(), s.limit()+size); size > limit { // the disk has its bytes already
		return fmt.Errorf("adopt %s: it has %d bytes, and no more than %d are kept", d, size, limit)
	}
	if s.spoiled(d) {
		return fmt.Errorf("adopt %s: the disk damages it again and again, and it isn't kept for now", d)
	}
	err := s.later(d, size, size, true, func() (*partial, error) { return s.takeOver(d, size, path) })
	if err != nil {
		return fmt.Errorf("adopt %s: %w", d, err)
	}
	return nil
}

// takeOver makes a private partial file of a file at another place, which must be what a blob's file
// is: regular and of its size. It counts as used just now.
func (s *Store) takeOver(d digest.Digest, size int64, path string) (p *partial, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, errors.New("it isn't a regular file")
	case st.Size() != size:
		return nil, fmt.Errorf("%w: it has %d bytes, where %d were promised", ErrMismatch, st.Size(), size)
	}
	now := s.now()
	_ = os.Chtimes(path, now, now) // recency is a hint
	name := filepath.Base(s.partial(d)) + "." + rand.Text()
	if s.noLocks.Load() != nil {
		name = unlockedPrefix + rand.Text()
	}
	_ = tryLock(f) // nobody else has it; without locks its age tells that it isn't left over
	to := filepath.Join(s.partials(), name)
	if err := s.retry(s.partials(), func() error { return os.Rename(path, to) }); err != nil {
		return nil, noSpace(err)
	}
	s.ledger.takeUp(name)
	step("taken over")
	return &partial{f: f, path: to, name: name, private: true}, nil
}

// MakeRoom frees n bytes on the disk, or less where the store hasn't that much. What
// the disk has free anyway counts.
func (s *Store) MakeRoom(n int64) {
	_, disk := s.limitNow()
	if short := n + keepFree(disk) - disk.Free; disk.Size > 0 && short > 0 {
		s.evict(short)
	}
}
