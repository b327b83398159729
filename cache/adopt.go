package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
)

// Adopt moves a file from Staging into the store. The caller vouches for its digest,
// and nobody may write to it any more. What the store has already is as good: the
// file is removed then. An error leaves it where it is.
func (s *Store) Adopt(d digest.Digest, size int64, path string) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("adopt %q: %w", d, err)
	}
	if s.has(d, size) {
		return os.Remove(path)
	}
	if limit := s.limit(); size > limit {
		return fmt.Errorf("adopt %s: it has %d bytes, and no more than %d are kept", d, size, limit)
	}
	if err := s.settleFile(path, size); err != nil {
		return fmt.Errorf("adopt %s: %w", d, err)
	}
	s.ledger.pin(d) // before it has its name: eviction mustn't come between
	defer s.ledger.unpin(d)
	step("adopted: synced")
	to := s.blob(d)
	if err := s.retry(filepath.Dir(to), func() error { return os.Rename(path, to) }); err != nil {
		return fmt.Errorf("adopt %s: %w", d, noSpace(err))
	}
	step("adopted: renamed")
	s.checker.endDoubt(d)
	s.ledger.note(d, inBlocks(size))
	s.brought(inBlocks(size))
	s.evict(0)
	return nil
}

// settleFile makes sure that a file is what a blob's must be: regular, of its size,
// on the disk, and used just now.
func (s *Store) settleFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return errors.New("it isn't a regular file")
	case st.Size() != size:
		return fmt.Errorf("%w: it has %d bytes, where %d were promised", ErrMismatch, st.Size(), size)
	}
	now := s.now()
	_ = os.Chtimes(path, now, now) // recency is a hint
	return noSpace(f.Sync())
}

// MakeRoom frees n bytes on the disk, or less where the store hasn't that much. What
// the disk has free anyway counts.
func (s *Store) MakeRoom(n int64) {
	_, disk := s.limitNow()
	if short := n + keepFree(disk) - disk.Free; disk.Size > 0 && short > 0 {
		s.evict(short)
	}
}
