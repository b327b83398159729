package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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

// aside moves a blob's file, open as f, to the quarantine, and gives where it is now;
// "" where it couldn't be kept, and was removed. A file that has the name by now
// instead of f is another, and stays: fs.ErrNotExist.
func (l layout) aside(d digest.Digest, f *os.File) (to string, err error) {
	path := l.blob(d)
	if !named(f, path) {
		return "", fmt.Errorf("%s is another file by now: %w", path, fs.ErrNotExist)
	}
	to = filepath.Join(l.quarantine(), d.Encoded())
	if os.MkdirAll(l.quarantine(), 0o700) != nil || os.Rename(path, to) != nil {
		return "", os.Remove(path) // gone is as good
	}
	now := time.Now() // from now on it is kept for a while, however long it wasn't used
	_ = os.Chtimes(to, now, now)
	return to, nil
}

// setAside takes a damaged blob, open as f, out of the way, and keeps it for a look.
func (s *Store) setAside(d digest.Digest, f *os.File, why string) {
	_, err := s.aside(d, f)
	if errors.Is(err, fs.ErrNotExist) {
		return // another was first
	}
	s.log.Warn("damaged cache file set aside", "digest", d, "why", why)
	if err != nil {
		s.log.Warn("damaged cache file not removed", "digest", d, "cause", err)
	}
	s.ledger.drop(d)
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
	h := d.Algorithm().Hash()
	switch n, err := ingest.Hash(ctx, h, r, 0); {
	case errors.Is(err, syscall.EIO):
		return fmt.Sprintf("the disk can't read it: %v", err), nil
	case err != nil:
		return "", err
	case digest.NewDigest(d.Algorithm(), h) != d:
		return fmt.Sprintf("its %d bytes are %s", n, digest.NewDigest(d.Algorithm(), h)), nil
	}
	return "", nil
}

// placeFor is the file that a download of d goes to: its partial file, or an unnamed one
// elsewhere, which is served while it is open, where the disk spoils d.
func (s *Store) placeFor(ctx context.Context, d digest.Digest, alone bool) (*partial, error) {
	if s.spoiled(d) {
		return unnamed()
	}
	return s.partialFile(ctx, d, alone)
}
