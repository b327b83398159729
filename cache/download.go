package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/ocifs/ocifs/cache/internal/ingest"
	"github.com/opencontainers/go-digest"
)

// Fetch gives the bytes of a blob from offset on, length of them, or all where length
// is negative. The context ends when nobody wants them any more.
type Fetch func(ctx context.Context, offset, length int64) (io.ReadCloser, error)

// Want is a blob that someone needs.
type Want struct {
	Digest digest.Digest
	Size   int64  // in bytes; -1: not known
	From   string // where it comes from, for Transfers
	Fetch  Fetch
	// Part fetches a part beside others: only where the origin sends that part and nothing
	// else, and only by a connection that is free (ErrNoPlace). Nil: the blob comes by one
	// connection.
	Part Fetch
	// Begin is asked before a download is begun for this want, and not where it joins
	// one that is under way or finds the blob cached. Its error is Get's then, and
	// nothing is fetched. It is called under a lock: it waits for nothing. Nil: none is
	// refused.
	Begin func(ctx context.Context) error
	// Doubt is told that what Fetch gave isn't what the digest promises, and says
	// whether it comes from elsewhere the next time. Then it is fetched once more. Nil:
	// it doesn't.
	Doubt func() bool
}

// download is a download of a digest, the only one in this process but where that
// was too slow for someone. It is there until what came has its place.
type download struct {
	job
	want  Want
	alone bool           // another is under way
	in    *ingest.Ingest // brings the bytes
}

const (
	// maxJoined is how many downloads, or makings, that others began, and that failed, one who
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
		if f, err := s.cached(ctx, w); f != nil || err != nil {
			return f, err
		}
		dl, began, err := s.join(ctx, w, alone)
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
			return nil, wrongSize(w, dl.file.size)
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
	for last := dl.in.Done(); ; last = dl.in.Done() {
		select {
		case <-dl.ended:
			return false, nil
		case <-ctx.Done():
			s.leave(dl)
			return false, ctx.Err()
		case <-tick:
			if dl.in.Done()-last < fast {
				s.leave(dl)
				return true, nil
			}
		}
	}
}

// wrongSize is the error of a want whose blob is right and has another size.
func wrongSize(w Want, size int64) error {
	return fmt.Errorf("%w: %s has %d bytes, where %d were promised", ErrMismatch, w.Digest, size, w.Size)
}

// is says whether a download is for the same want, or for one like it.
func (dl *download) is(w Want) bool { return dl.want.From == w.From && dl.want.Size == w.Size }

// join makes one more wait for a download of a digest, and begins one where there
// is none, or, if alone, none for this very want.
func (s *Store) join(ctx context.Context, w Want, alone bool) (dl *download, began bool, err error) {
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
		if w.Begin != nil {
			if err := w.Begin(ctx); err != nil {
				return nil, false, err
			}
		}
		dl = &download{want: w, alone: alone, in: s.ingest(w)}
		dl.room.came = dl.in.Done
		dl.forget = func() { s.forget(dl) }
		dl.succeeded, dl.failed = &s.stats.Downloads, &s.stats.Failures
		s.downloads[w.Digest] = append(s.downloads[w.Digest], dl)
		s.stats.Misses++
		s.begin(&dl.job, func(ctx context.Context) (*shared, *partial, error) { return s.fetch(ctx, dl) })
	}
	if !dl.over {
		dl.in.Resume()
	}
	s.enter(&dl.job)
	return dl, began, nil
}

// ingest gives the way of a blob into its file.
func (s *Store) ingest(w Want) *ingest.Ingest {
	return ingest.New(
		ingest.Blob{Digest: w.Digest, Size: w.Size, Fetch: ingest.Fetch(w.Fetch), Part: ingest.Fetch(w.Part), Doubt: w.Doubt},
		ingest.Options{
			Parts: s.parts, Write: s.write, Arrived: &s.came, Coming: &s.coming, Catch: s.catch, Log: s.log,
			Emptied: func() { step("begun anew") },
		})
}

// leave ends one wait. When it was the last, the download goes on for the grace period: who
// was interrupted often comes again.
func (s *Store) leave(dl *download) { s.endWait(&dl.job, func() {}) }

// leaveStill ends one wait, as leave does, and when it was the last, nothing more is read
// from the wire: who began to read a blob may never want the rest of it.
func (s *Store) leaveStill(dl *download) { s.endWait(&dl.job, dl.in.Hold) }

// forget lets the next who wants the digest start anew. mu is held.
func (s *Store) forget(dl *download) {
	d := dl.want.Digest
	s.downloads[d] = slices.DeleteFunc(s.downloads[d], func(x *download) bool { return x == dl })
	if len(s.downloads[d]) == 0 {
		delete(s.downloads, d)
	}
}

// fetch brings the whole blob into a partial file. Where another process was first
// there is only its file.
func (s *Store) fetch(ctx context.Context, dl *download) (*shared, *partial, error) {
	d := dl.want.Digest
	p, err := s.placeFor(ctx, d, dl.alone)
	if err != nil {
		return nil, nil, err
	}
	if p.found != nil {
		return p.found.s, nil, nil
	}
	var size int64
	err = s.catch(func() (err error) {
		size, err = dl.in.Run(ctx, p.f, func() {
			// Not before the bytes are on their way: a promise alone makes nothing go. What
			// is larger than the bound isn't kept, and nothing has to go for it either.
			if n := dl.want.Size; n > 0 && n <= s.limit() && p.path != "" {
				s.reserve(&dl.room, inBlocks(n))
			}
		})
		return err
	})
	if err != nil {
		s.abandon(p, errors.Is(err, ErrMismatch) || errors.Is(err, ErrNoSpace))
		return nil, nil, err
	}
	st, err := p.f.Stat()
	if err != nil {
		s.abandon(p, true)
		return nil, nil, err
	}
	s.ledger.pin(d) // before it has its name: eviction mustn't come between
	step("verified")
	return &shared{store: s, f: p.f, digest: d, size: size, inode: inode(st), refs: 1}, p, nil
}

// write writes at offset. A full disk is tried once more, after eviction.
func (s *Store) write(f *os.File, b []byte, offset int64) error {
	err := s.withRoom(int64(len(b)), func() error {
		_, err := f.WriteAt(b, offset)
		return noSpace(err)
	})
	step("bytes written")
	return err
}
