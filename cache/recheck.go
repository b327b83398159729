package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// After an unclean end of a process the blobs that were written since a little before it
// began are hashed again. That is done behind, in recheckShare of the time of one CPU, the
// last first, and up to recheckBytes or for recheckFor: a disk that lost what it said was
// safe lost the last of it.
const (
	recheckMargin = time.Minute
	recheckBytes  = 4 << 30
	recheckFor    = 5 * time.Minute
	recheckShare  = 4 // one in so many
	// recheckFirst is how large a blob is at most that is hashed before it is served
	// while that is going on. It takes less than a millisecond, and so those are safe that
	// all else hangs on: manifests and configs. A larger one is served with a look at its
	// size alone, as its readers would wait for seconds, and for what was on the disk by
	// all that the disk said.
	recheckFirst = 1 << 20
)

// suspicion is of the blobs that were last written or used in a time.
type suspicion struct{ since, until time.Time }

// of says whether it is of a blob. A blob's time may be later than when it was written,
// and never is before that.
func (u *suspicion) of(st fs.FileInfo) bool {
	return u != nil && !st.ModTime().Before(u.since) && st.ModTime().Before(u.until)
}

// suspect finds what processes left that ended without closing the cache, and says which
// blobs are in doubt for it; nil: none.
func (s *Store) suspect() []*sentinel {
	left := s.unclean()
	if len(left) == 0 {
		return nil
	}
	since := left[0].since()
	for _, l := range left {
		if t := l.since(); t.Before(since) {
			since = t
		}
	}
	s.doubt.Store(&suspicion{since.Add(-recheckMargin), s.now()})
	return left
}

// recheck hashes what is in doubt, and takes away what says that it is.
func (s *Store) recheck(left []*sentinel) {
	defer s.work.Done()
	doubt := s.doubt.Load()
	s.log.Info("the cache wasn't closed by who had it last: what was written since is hashed again", "since", doubt.since.UTC(), "dir", s.dir)
	sum, err := s.rehashSince(doubt.since)
	if errors.Is(err, context.Canceled) { // this process ends: the next one goes on
		for _, l := range left {
			l.f.Close()
		}
		return
	}
	s.doubt.Store(nil)
	for _, l := range left {
		l.leave()
	}
	s.log.Info("hashed again", "blobs", sum.blobs, "bytes", sum.bytes, "damaged", sum.damaged)
	if sum.rest > 0 {
		s.log.Warn("not all that is in doubt was hashed again; 'ocifs cache verify' does", "blobs", sum.rest)
	}
}

// rechecked is what came of it.
type rechecked struct {
	blobs, damaged, rest int
	bytes                int64
}

func (s *Store) rehashSince(since time.Time) (sum rechecked, err error) {
	var found []blobEntry
	err = s.walkBlobs(s.ctx, func(b blobEntry) error {
		if !b.used.Before(since) {
			found = append(found, b)
		}
		return nil
	})
	if err != nil {
		return sum, err
	}
	slices.SortFunc(found, func(a, b blobEntry) int { return cmp.Compare(b.used.UnixNano(), a.used.UnixNano()) })
	end := time.Now().Add(recheckFor)
	for _, b := range found {
		if sum.bytes+b.size > recheckBytes || time.Now().After(end) {
			sum.rest++
			continue
		}
		f, err := os.Open(s.blob(b.digest))
		if err != nil {
			continue // gone by now
		}
		why, err := damage(s.ctx, b.digest, slowly{s.ctx, f})
		if why != "" {
			s.setAside(b.digest, f, why)
			sum.damaged++
		}
		f.Close()
		if s.ctx.Err() != nil {
			return sum, s.ctx.Err()
		}
		if err != nil {
			s.log.Warn("not hashed again", "digest", b.digest, "cause", err)
			continue
		}
		sum.blobs++
		sum.bytes += b.size
	}
	return sum, nil
}

// slowly leaves the CPU and the disk to others for most of the time.
type slowly struct {
	ctx context.Context
	f   *os.File
}

func (r slowly) ReadAt(p []byte, off int64) (int, error) {
	began := time.Now()
	n, err := r.f.ReadAt(p, off)
	select {
	case <-r.ctx.Done():
	case <-time.After((recheckShare - 1) * (time.Since(began) + hashTime(n))):
	}
	return n, err
}

// hashTime is about how long n bytes take to be hashed.
func hashTime(n int) time.Duration { return time.Duration(n) } // a gigabyte a second

// doubtful says that a blob, open as f, is damaged, where it is in doubt and small enough
// to be hashed before it is served.
func (s *Store) doubtful(d digest.Digest, f *os.File, st fs.FileInfo) (why string) {
	if st.Size() > recheckFirst || !s.doubt.Load().of(st) {
		return ""
	}
	why, err := damage(s.ctx, d, f)
	if err != nil {
		s.log.Debug("not hashed again", "digest", d, "cause", err)
	}
	return why
}

// errDamaged is of a blob that was found damaged and set aside: to whom asks it isn't
// cached.
var errDamaged = fmt.Errorf("damaged: %w", fs.ErrNotExist)
