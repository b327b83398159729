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

const (
	// doubtMargin is how long before the start of a process that ended uncleanly a blob may
	// have been written and be in doubt. Disks write back within 30 seconds (ext4's and XFS'
	// default; btrfs' too).
	doubtMargin = time.Minute
	// backgroundShare: the background takes one part in so many of the time of one CPU.
	backgroundShare = 4
	// checkAtOnce is how large a blob is at most that Open itself hashes, in bytes: one in doubt, or
	// one that has its laterName alone. Manifests are at most that, and it takes some milliseconds.
	// Open says ErrUnchecked of a larger one in doubt.
	checkAtOnce = 8 << 20
	// othersEvery is how often a store looks whether another process is through with the
	// sentinels that it took over.
	othersEvery = time.Second
)

// ErrUnchecked: a blob is cached, but in doubt, and hasn't been hashed again yet. Get hashes
// it. It is also fs.ErrNotExist.
var ErrUnchecked = fmt.Errorf("cached, but not checked since an unclean end: %w", fs.ErrNotExist)

// doubt is about the blobs whose files an unclean end may have left damaged: those that were
// written or used since a little before the process began that ended so. A file's time may be
// later than when it was written, and never is before that. checker.mu guards it.
type doubt struct {
	is     bool                   // false: no blob is in doubt
	since  time.Time              // what is in doubt is not older
	listed map[digest.Digest]bool // the blobs in doubt; nil: the directory isn't read yet
	ended  map[digest.Digest]bool // blobs whose doubt ended before the directory was read; nil after that
}

// of says whether a blob with that file is in doubt.
func (u *doubt) of(d digest.Digest, st fs.FileInfo) bool {
	switch {
	case !u.is:
		return false
	case u.listed != nil:
		return u.listed[d]
	}
	return !u.ended[d] && !st.ModTime().Before(u.since)
}

// over says whether a blob that was in doubt isn't any more.
func (u *doubt) over(d digest.Digest) bool {
	if u.listed != nil {
		return !u.listed[d]
	}
	return !u.is || u.ended[d]
}

// end takes a blob out of doubt.
func (u *doubt) end(d digest.Digest) {
	switch {
	case u.listed != nil:
		delete(u.listed, d)
	case u.is:
		u.ended[d] = true
	}
}

// list takes note of which blobs are in doubt.
func (u *doubt) list(ds []blobEntry) {
	u.listed = map[digest.Digest]bool{}
	for _, b := range ds {
		if !u.ended[b.digest] {
			u.listed[b.digest] = true
		}
	}
	u.ended = nil
}

// inDoubt says whether a blob with that file is in doubt.
func (c *checker) inDoubt(d digest.Digest, st fs.FileInfo) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.doubt.of(d, st)
}

// checkSmall checks a blob that is in doubt, unless it is too large for a caller that can't
// wait: ErrUnchecked.
func (c *checker) checkSmall(ctx context.Context, d digest.Digest) error {
	c.mu.Lock()
	is := c.doubt.is
	c.mu.Unlock()
	if !is {
		return nil // without a call of the disk
	}
	st, err := os.Stat(c.blob(d))
	if err != nil || !c.inDoubt(d, st) {
		return nil
	}
	if st.Size() > checkAtOnce {
		return fmt.Errorf("%s: %w", d, ErrUnchecked)
	}
	_, err = c.checkDoubt(ctx, d)
	return err
}

// endDoubt takes a blob out of doubt, because its file is new or gone.
func (c *checker) endDoubt(d digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubt.end(d)
}

// left is how many blobs are in doubt, as far as the directory has been read.
func (c *checker) left() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.doubt.listed)
}

// begins puts in doubt what was written since the first of some sentinels.
func (c *checker) begins(of []*sentinel) {
	since := of[0].since()
	for _, s := range of {
		if t := s.since(); t.Before(since) {
			since = t
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doubt = doubt{is: true, since: since.Add(-doubtMargin), ended: map[digest.Digest]bool{}}
}

// workOff hashes what is in doubt, and removes the sentinels that say so: those that this
// process took over, and those of others if they don't get to it.
func (c *checker) workOff(own, others []*sentinel) {
	c.log.Info("the cache wasn't closed by a process that had it: what was written since is hashed again, before it is read",
		"since", c.doubt.since.UTC(), "dir", c.dir)
	blobs, err := c.list()
	for err == nil && len(own)+len(others) > 0 {
		if len(own) > 0 {
			if err = c.checkAll(blobs); err != nil {
				break
			}
			for _, s := range own {
				s.leave()
			}
			own = nil
		}
		if len(others) > 0 {
			own, others, err = c.takeOver(others)
		}
	}
	if err == nil {
		c.mu.Lock()
		c.doubt = doubt{}
		c.mu.Unlock()
		return
	}
	if c.ctx.Err() == nil {
		c.log.Warn("not all that is in doubt can be hashed; 'ocifs cache verify' tells more", "dir", c.dir, "cause", err)
		<-c.ctx.Done() // readers are told blob by blob, and the next process tries again
	}
	closeAll(own)
	closeAll(others)
}

// list finds the blobs that are in doubt, the last used first.
func (c *checker) list() (found []blobEntry, err error) {
	err = c.walkBlobs(c.ctx, func(b blobEntry) error {
		if !b.used.Before(c.doubt.since) {
			found = append(found, b)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b blobEntry) int { return cmp.Compare(b.used.UnixNano(), a.used.UnixNano()) })
	c.mu.Lock()
	c.doubt.list(found)
	c.mu.Unlock()
	step("listed")
	return found, nil
}

// checkAll hashes those blobs that are still in doubt.
func (c *checker) checkAll(blobs []blobEntry) error {
	var n, damaged int
	var size int64
	var failed error
	for _, b := range blobs {
		c.mu.Lock()
		doubtful := c.doubt.listed[b.digest]
		c.mu.Unlock()
		if !doubtful {
			continue
		}
		v, err := c.checkBehind(c.ctx, b.digest)
		switch {
		case c.ctx.Err() != nil:
			return c.ctx.Err()
		case err != nil:
			failed = errors.Join(failed, err)
		case v.none:
		case v.sound:
			n++
			size += v.size
		default:
			damaged++
		}
	}
	c.log.Info("hashed again", "blobs", n, "bytes", size, "damaged", damaged, "failed", failed != nil)
	return failed
}

// takeOver waits for other processes that work off what is in doubt, until a sentinel is gone
// or was left to this process.
func (c *checker) takeOver(of []*sentinel) (own, others []*sentinel, err error) {
	select {
	case <-time.After(othersEvery):
	case <-c.ctx.Done():
		return nil, of, c.ctx.Err()
	}
	for _, s := range of {
		switch {
		case !named(s.f, s.path):
			s.f.Close()
		case tryLock(s.f) == nil:
			own = append(own, s)
		default:
			others = append(others, s)
		}
	}
	return own, others, nil
}
