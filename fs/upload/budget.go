package upload

import (
	"fmt"
	"sync"
)

// makeRoomEach is after how many newly staged bytes the cache is asked to free as many again.
const makeRoomEach = 64 << 20

// budget counts the bytes on the staging disk. Options.MaxBytes limits them.
type budget struct {
	max      int64         // in bytes; 0: as many as the disk holds
	makeRoom func(n int64) // asks the cache for n bytes; called without a lock

	// mu guards the fields below, and share.bytes. No other lock is taken under it.
	mu    sync.Mutex
	used  int64 // in bytes: the sum of all shares
	added int64 // in bytes, since the cache was last asked for room
}

// bytes gives how many bytes are staged.
func (b *budget) bytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// share is the part of a budget that one file holds: the bytes that it has on the staging disk. A
// share is set and never added to, so that nothing is counted or given back twice.
type share struct {
	of    *budget
	bytes int64 // guarded by budget.mu
}

// grow makes the share hold at least n bytes. It fails with ErrNoSpace beyond the limit.
func (s *share) grow(n int64) error {
	due, err := s.reserve(n)
	if due {
		s.of.makeRoom(makeRoomEach)
	}
	return err
}

// reserve is grow without asking the cache. due says that the cache must be asked for room.
func (s *share) reserve(n int64) (due bool, err error) {
	b := s.of
	b.mu.Lock()
	defer b.mu.Unlock()
	more := n - s.bytes
	if more <= 0 {
		return false, nil
	}
	if b.max > 0 && more > b.max-b.used {
		return false, fmt.Errorf("%w: %d more bytes, to %d that are staged, are over the %d allowed", ErrNoSpace, more, b.used, b.max)
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

// hold makes the share hold n bytes, without a limit, because they are on the disk already.
func (s *share) hold(n int64) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.of.used += n - s.bytes
	s.bytes = n
}

// shrink makes the share hold at most n bytes.
func (s *share) shrink(n int64) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	if n < s.bytes {
		s.of.used -= s.bytes - n
		s.bytes = n
	}
}

// release gives all bytes back, because they left the staging disk. A second release changes
// nothing.
func (s *share) release() { s.shrink(0) }
