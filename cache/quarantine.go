package cache

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ocifs/ocifs/cache/internal/ingest"
	"github.com/opencontainers/go-digest"
)

// A blob that was set aside spoilAfter times within spoilWithin isn't written to this
// disk again for that long: it would only be damaged, found out and fetched once more,
// for ever.
const (
	spoilAfter  = 3
	spoilWithin = 10 * time.Minute
)

// aside moves a blob's file, open as f, to the quarantine, and gives where it is now; "" where
// it couldn't be kept, and was removed. f is nil if the disk can't even open it. A file that
// has the name by now instead of f stays: fs.ErrNotExist.
func (l layout) aside(d digest.Digest, f *os.File) (to string, err error) {
	path := l.blob(d)
	if f != nil && !named(f, path) {
		return "", fmt.Errorf("%s is another file by now: %w", path, fs.ErrNotExist)
	}
	step("setting aside")
	to = filepath.Join(l.quarantine(), d.Encoded())
	if os.MkdirAll(l.quarantine(), 0o700) != nil || os.Rename(path, to) != nil {
		return "", os.Remove(path) // gone is as good
	}
	if f != nil && !named(f, to) { // it came in that moment
		if err := os.Link(to, path); err == nil || errors.Is(err, fs.ErrExist) {
			_ = os.Remove(to)
		}
		return "", fmt.Errorf("%s is another file by now: %w", path, fs.ErrNotExist)
	}
	now := time.Now() // from now on it is kept for a while, however long it wasn't used
	_ = os.Chtimes(to, now, now)
	return to, nil
}

// setAside takes a damaged blob, open as f, out of the way, and keeps it for a look. A file
// that can neither be moved nor removed stays where it is, and isn't used again.
func (s *Store) setAside(d digest.Digest, f *os.File, why string) {
	if f == nil && s.shunned(d, 0) {
		return
	}
	mark := s.ledger.mark()
	_, err := s.aside(d, f)
	if errors.Is(err, fs.ErrNotExist) {
		return // another was first
	}
	if err != nil && !s.shun(d, f) {
		return // it was told
	}
	s.log.Warn("damaged cache file set aside", "digest", d, "why", why)
	if err != nil {
		s.log.Warn("damaged cache file not removed: it isn't used any more", "digest", d, "cause", err)
	}
	s.ledger.vanished(d, mark)
	s.countAside()
	s.checker.endDoubt(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Quarantined++
	if s.damaged == nil {
		s.damaged = map[digest.Digest][]time.Time{}
	}
	now := s.now()
	for d, times := range s.damaged { // so that it doesn't grow
		if now.Sub(times[len(times)-1]) > spoilWithin {
			delete(s.damaged, d)
		}
	}
	times := append(s.damaged[d], now)
	s.damaged[d] = times[max(0, len(times)-spoilAfter):]
	if s.spoiledLocked(d) {
		s.log.Error("a blob is damaged again and again: the disk of the cache may be failing, and the blob isn't kept for now",
			"digest", d, "dir", s.dir, "times", len(times), "within", fmt.Sprint(spoilWithin))
	}
}

// shun has a damaged file that can't be moved away not used again. false: it isn't already.
func (s *Store) shun(d digest.Digest, f *os.File) (first bool) {
	var ino uint64 // 0: whatever has the name and can't be opened
	if f != nil {
		if st, err := f.Stat(); err == nil {
			ino = inode(st)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, ok := s.shuns[d]; ok && was == ino {
		return false
	}
	if s.shuns == nil {
		s.shuns = map[digest.Digest]uint64{}
	}
	s.shuns[d] = ino
	return true
}

// shunned says that a file with that inode isn't used any more.
func (s *Store) shunned(d digest.Digest, ino uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, ok := s.shuns[d]
	return ok && was == ino
}

// spoiled says that the disk has damaged d again and again lately.
func (s *Store) spoiled(d digest.Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spoiledLocked(d)
}

func (s *Store) spoiledLocked(d digest.Digest) bool {
	times := s.damaged[d]
	return len(times) == spoilAfter && s.now().Sub(times[0]) <= spoilWithin
}

// damage says what is wrong with the bytes of a blob; "": nothing. An error says that it
// couldn't be told.
func damage(ctx context.Context, d digest.Digest, r io.ReaderAt) (why string, err error) {
	why, _, err = damageFrom(ctx, d, r, d.Algorithm().Hash(), 0)
	return why, err
}

// damageFrom is damage where the bytes before offset are in h already. size is where the blob
// ends.
func damageFrom(ctx context.Context, d digest.Digest, r io.ReaderAt, h hash.Hash, offset int64) (why string, size int64, err error) {
	switch size, err := ingest.Hash(ctx, h, r, offset); {
	case unreadable(err):
		return fmt.Sprintf("the disk can't read it: %v", err), 0, nil
	case err != nil:
		return "", 0, err
	case digest.NewDigest(d.Algorithm(), h) != d:
		return fmt.Sprintf("its %d bytes are %s", size, digest.NewDigest(d.Algorithm(), h)), size, nil
	default:
		return "", size, nil
	}
}

// placeFor is the file that a download of d goes to: its partial file, or an unnamed one
// elsewhere, which is served while it is open, where the disk spoils d.
func (s *Store) placeFor(ctx context.Context, d digest.Digest, alone bool) (*partial, error) {
	if s.spoiled(d) {
		return s.unnamedElsewhere()
	}
	return s.partialFile(ctx, partialWant{
		path: s.partial(d), alone: alone, waits: func(int64) {},
		found: func() (*File, error) { return s.open(d, -1) },
	})
}
