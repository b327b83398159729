package upload

import (
	"fmt"
	"sync"
)

// makeRoomEach is how many bytes are staged before the cache is asked to make room for as
// many again.
const makeRoomEach = 64 << 20

// budget counts the bytes on the staging disk, which Options.MaxBytes bounds.
type budget struct {
	max      int64         // in bytes; 0: as the disk has
	makeRoom func(n int64) // asks the cache for n bytes; called without a lock

	mu    sync.Mutex // guards all below, and the bytes of each share; no other lock is taken under it
	used  int64      // in bytes: the sum of all shares
	added int64      // in bytes: what came since the cache was last asked for room
}

// bytes gives how many bytes are staged.
func (b *budget) bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// share is what one file holds of a budget: as many bytes as it has on the staging disk. Its
// size is set, never added to, so that nothing is counted or given back twice.
type share struct {
	of    *budget
	bytes int64 // guarded by budget.mu
}

// grow has the share hold at least n bytes. It fails with ErrNoSpace beyond the bound.
func (s *share) grow(n int64) error {
	due, err := s.reserve(n)
	if due {
		s.of.makeRoom(makeRoomEach)
	}
	return err
}

// reserve is grow. due says that the cache is to be asked for room.
func (s *share) reserve(n int64) (due bool, err error) {
	b := s.of
	b.mu.Lock()
	defer b.mu.Unlock()
	more := n - s.bytes
	if more <= 0 {
		return false, nil
	}
	if b.max > 0 && more > b.max-b.used {
		return false, fmt.Errorf("%w: %d bytes are staged, of %d allowed", ErrNoSpace, b.used, b.max)
	}
	s.bytes += more
	b.used += more
	b.added += more
	if b.added >= makeRoomEach {
		b.added = 0
		return true, nil
	}
	return false, nil
}

// hold has the share hold n bytes, whatever the bound is: they are on the disk.
func (s *share) hold(n int64) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.used += n - s.bytes
	s.bytes = n
}

// shrink has the share hold at most n bytes.
func (s *share) shrink(n int64) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if n < s.bytes {
		s.of.used -= s.bytes - n
		s.bytes = n
	}
}

// release gives all bytes back: they left the staging disk. Another release changes nothing.
func (s *share) release() { s.shrink(0) }
