package cache

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
)

// Fetch gives the bytes of a blob from offset on. The context ends when nobody
// wants them any more.
type Fetch func(ctx context.Context, offset int64) (io.ReadCloser, error)

// Want is a blob that someone needs.
type Want struct {
	Digest digest.Digest
	Size   int64  // in bytes; -1: not known
	From   string // where it comes from, for Transfers
	Fetch  Fetch
	// Doubt is told that what Fetch gave isn't what the digest promises, and says
	// whether it comes from elsewhere the next time. Then it is fetched once more. Nil:
	// it doesn't.
	Doubt func() bool
}

// buffers are what downloads copy through, so that memory doesn't grow with
// their sizes.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// download is a download of a digest, the only one in this process but where that
// was too slow for someone.
type download struct {
	want    Want
	alone   bool // another is under way
	started time.Time
	done    atomic.Int64 // bytes that are on disk
	ended   chan struct{}
	cancel  context.CancelFunc

	// Guarded by Store.mu.
	waiters int
	idle    *time.Timer // runs while nobody waits
	over    bool
	file    *shared // the outcome: with a reference for each waiter
	err     error
}

const (
	// maxJoined is how many downloads that others began, and that failed, one who
	// wants the same waits for before their failure is its own.
	maxJoined = 3
	// patience is how long one waits for a download from elsewhere that brings
	// less than fast in that time.
	patience = 2 * time.Second
	fast     = 64 << 10
)

// Get gives a blob: from the cache, or by the one download that all who want it
// share. It returns as soon as ctx ends, whatever becomes of the download.
//
// A download that fails for another, who wanted it from elsewhere or promised
// another size, says little, and so does one that is slow: then one is begun for
// this want.
func (s *Store) Get(ctx context.Context, w Want) (*File, error) {
	alone := false // others have tried our patience
	for joined := 0; ; joined++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := s.Open(w.Digest, w.Size)
		if err == nil {
			return f, nil
		}
		if w.Digest.Validate() != nil {
			return nil, err
		}
		if errors.Is(err, errOtherSize) {
			if err := s.examine(ctx, w); err != nil {
				return nil, err
			}
		}
		dl, began, err := s.join(w, alone)
		if err != nil {
			return nil, err
		}
		switch slow, err := s.wait(ctx, dl, w); {
		case err != nil:
			return nil, err
		case slow:
			alone = true
		case dl.err == nil && (w.Size < 0 || w.Size == dl.file.size):
			return &File{s: dl.file}, nil
		case dl.err == nil:
			_ = dl.file.release() // ours of it; who has the rest will close it
			return nil, fmt.Errorf("%w: %s has %d bytes, where %d were promised", ErrMismatch, w.Digest, dl.file.size, w.Size)
		case began || joined == maxJoined || dl.is(w):
			return nil, dl.err
		}
	}
}

// wait waits for a download's end, or for that of ctx, or, where the download is of
// another want, until it is too slow. In the two latter cases the wait is given up.
func (s *Store) wait(ctx context.Context, dl *download, w Want) (slow bool, err error) {
	var tick <-chan time.Time
	if !dl.is(w) {
		t := time.NewTicker(patience)
		defer t.Stop()
		tick = t.C
	}
	for last := dl.done.Load(); ; last = dl.done.Load() {
		select {
		case <-dl.ended:
			return false, nil
		case <-ctx.Done():
			s.leave(dl)
			return false, ctx.Err()
		case <-tick:
			if dl.done.Load()-last < fast {
				s.leave(dl)
				return true, nil
			}
		}
	}
}

// is says whether a download is for the same want, or for one like it.
func (dl *download) is(w Want) bool { return dl.want.From == w.From && dl.want.Size == w.Size }

// join makes one more wait for a download of a digest, and begins one where there
// is none, or, if alone, none for this very want.
func (s *Store) join(w Want, alone bool) (dl *download, began bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, ErrClosed
	}
	for _, x := range s.downloads[w.Digest] {
		if x.is(w) || dl == nil && !alone {
			dl = x
		}
	}
	if began = dl == nil; began {
		ctx, cancel := context.WithCancel(s.ctx)
		dl = &download{want: w, alone: alone, started: s.now(), ended: make(chan struct{}), cancel: cancel}
		s.downloads[w.Digest] = append(s.downloads[w.Digest], dl)
		s.stats.Misses++
		s.work.Add(1)
		go func() {
			defer s.work.Done()
			defer cancel()
			f, err := s.run(ctx, dl)
			s.finish(dl, f, err)
		}()
	}
	if dl.idle != nil {
		dl.idle.Stop()
		dl.idle = nil
	}
	dl.waiters++
	return dl, began, nil
}

// leave ends one wait. When it was the last, the download has the grace period
// to go.
func (s *Store) leave(dl *download) {
	s.mu.Lock()
	if dl.over { // it ended in the same moment: give back what was meant for us
		f := dl.file
		s.mu.Unlock()
		if f != nil {
			_ = f.release()
		}
		return
	}
	dl.waiters--
	if dl.waiters == 0 {
		dl.idle = time.AfterFunc(s.grace, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if dl.waiters == 0 && !dl.over {
				s.forget(dl)
				dl.cancel()
			}
		})
	}
	s.mu.Unlock()
}

// forget lets the next who wants the digest start anew. mu is held.
func (s *Store) forget(dl *download) {
	d := dl.want.Digest
	s.downloads[d] = slices.DeleteFunc(s.downloads[d], func(x *download) bool { return x == dl })
	if len(s.downloads[d]) == 0 {
		delete(s.downloads, d)
	}
}

// finish hands the outcome to all who wait.
func (s *Store) finish(dl *download, f *shared, err error) {
	s.mu.Lock()
	s.forget(dl)
	dl.over, dl.file, dl.err = true, f, err
	if err != nil && s.closed {
		dl.err = ErrClosed
	}
	if dl.idle != nil {
		dl.idle.Stop()
	}
	if f != nil {
		f.refs += dl.waiters
	}
	if err == nil {
		s.stats.Downloads++
		s.evictLocked(s.limitLocked(), 0) // where its size wasn't known, or others came at the same time
	} else {
		s.stats.Failures++
	}
	s.mu.Unlock()
	if f != nil {
		_ = f.release() // the download's own reference: before a waiter can think its own is the last
	}
	close(dl.ended)
	select {
	case s.scans <- struct{}{}:
	default:
	}
}

// run downloads into a partial file and moves it to its place.
func (s *Store) run(ctx context.Context, dl *download) (*shared, error) {
	d := dl.want.Digest
	var reserved int64
	defer func() { s.unreserve(reserved) }()
	p, err := s.partialFile(ctx, d, dl.alone)
	if err != nil {
		return nil, err
	}
	if p.found != nil { // another process was first
		return p.found.s, nil
	}
	keep := p.path != "" && (dl.want.Size < 0 || dl.want.Size <= s.limit())
	size, err := s.fill(ctx, dl, p, func() {
		// Not before the bytes are on their way: a promise alone makes nothing go. What
		// is larger than the bound isn't kept, and nothing has to go for it either.
		if n := dl.want.Size; reserved == 0 && n > 0 && n <= s.limit() {
			reserved = n
			s.reserve(n)
		}
	})
	if err == nil && keep {
		err = noSpace(p.f.Sync())
		keep = size <= s.limit()
	}
	if err != nil {
		s.abandon(p, errors.Is(err, ErrMismatch) || errors.Is(err, ErrNoSpace))
		return nil, err
	}
	s.pin(d)
	if keep {
		to := s.blob(d)
		if err := s.retry(filepath.Dir(to), func() error { return os.Rename(p.path, to) }); err != nil {
			s.degrade(err)
			keep = false
		} else {
			s.mu.Lock()
			s.note(d, size)
			s.mu.Unlock()
		}
	}
	if !keep && p.path != "" {
		_ = os.Remove(p.path) // served while it is open, and kept nowhere
	}
	unlock(p.f)
	return &shared{store: s, f: p.f, digest: d, size: size, refs: 1}, nil
}

// fill brings the whole blob into the partial file, from where that ends, and
// verifies it. It calls coming when the registry has begun to send.
func (s *Store) fill(ctx context.Context, dl *download, p *partial, coming func()) (int64, error) {
	h := dl.want.Digest.Algorithm().Hash()
	had, err := p.rehash(ctx, h, dl.want.Size)
	if err != nil {
		return 0, err
	}
	dl.done.Store(had)
	size, err := s.receive(ctx, dl, p, h, had, coming)
	// The fault may be the part that was left, or where the rest came from.
	for again := had > 0; errors.Is(err, ErrMismatch); again = false {
		if doubted := dl.want.Doubt != nil && dl.want.Doubt(); !again && !doubted {
			break
		}
		s.log.Warn("what came of a blob didn't fit, and is fetched anew", "digest", dl.want.Digest, "cause", err)
		if err := p.f.Truncate(0); err != nil {
			return 0, err
		}
		dl.done.Store(0)
		h.Reset()
		size, err = s.receive(ctx, dl, p, h, 0, coming)
	}
	return size, err
}

// receive fetches from offset to the end.
func (s *Store) receive(ctx context.Context, dl *download, p *partial, h hash.Hash, offset int64, coming func()) (int64, error) {
	w := dl.want
	if offset < w.Size || w.Size < 0 || w.Size == 0 && offset == 0 {
		body, err := w.Fetch(ctx, offset)
		if err != nil {
			return 0, fmt.Errorf("fetch %s: %w", w.Digest, err)
		}
		defer body.Close()
		coming()
		bp := buffers.Get().(*[]byte)
		defer buffers.Put(bp)
		for {
			n, rerr := body.Read(*bp)
			if w.Size >= 0 && offset+int64(n) > w.Size {
				return 0, fmt.Errorf("%w: %s is longer than its %d bytes", ErrMismatch, w.Digest, w.Size)
			}
			if n > 0 {
				h.Write((*bp)[:n])
				if err := s.write(p.f, (*bp)[:n], offset); err != nil {
					return 0, err
				}
				offset += int64(n)
				dl.done.Store(offset)
			}
			if rerr == io.EOF {
				break
			}
			if rerr != nil {
				return 0, fmt.Errorf("fetch %s: %w", w.Digest, rerr)
			}
			if err := ctx.Err(); err != nil {
				return 0, err
			}
		}
	}
	if w.Size >= 0 && offset < w.Size {
		return 0, fmt.Errorf("%w: %s ended after %d of its %d bytes", ErrMismatch, w.Digest, offset, w.Size)
	}
	if got := digest.NewDigest(w.Digest.Algorithm(), h); got != w.Digest {
		return 0, fmt.Errorf("%w: what came for %s is %s", ErrMismatch, w.Digest, got)
	}
	return offset, nil
}

// write writes at offset. A full disk is tried once more, after eviction.
func (s *Store) write(f *os.File, b []byte, offset int64) error {
	_, err := f.WriteAt(b, offset)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		s.shrink(max(int64(len(b)), s.max/100*(100-lowWatermark)))
		_, err = f.WriteAt(b, offset)
	}
	return noSpace(err)
}

// degrade tells, once, that the cache can't keep anything.
func (s *Store) degrade(err error) {
	s.degraded.Do(func() {
		s.log.Error("the cache directory can't be written: going on without keeping anything", "dir", s.dir, "cause", err)
	})
}
