package cache

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

// Making is a blob that is made from another one on this machine, as a layer is unpacked. Its
// digest isn't known before it is made.
type Making struct {
	Of   digest.Digest // the blob that it is made from; there is one making of each at a time, in all processes
	Size int64         // of what is made, in bytes; another size is ErrMismatch; -1: not known
	From string        // where Of comes from, for Transfers

	// Known gives what was made of Of before, in this process or another one. ok is false if
	// that isn't known. If the store has that blob, nothing is made. If another blob is made
	// than is known, that is ErrMismatch. It is called by several goroutines. Nil: nothing is
	// known.
	Known func() (d digest.Digest, size int64, ok bool)
	// Begin is asked before a making is begun, as Want.Begin is before a download.
	Begin func(ctx context.Context) error
	// Write makes the bytes, from the first one on, and writes them to w. Each Write of w is one
	// write to the disk, so that they are to be large. raw reads back what was written. The
	// context ends when nobody waits any more; then w fails.
	Write func(ctx context.Context, w io.Writer, raw io.ReaderAt) error
	// Made is told what was made, when all of it is written and hashed, before anyone is given
	// the blob and before the blob has its name. Its error is Make's, and nothing is kept. Nil:
	// nobody is told.
	Made func(d digest.Digest, size int64) error
}

// known gives what was made before. A panic of Known is as if nothing were known.
func (s *Store) known(m Making) (d digest.Digest, size int64, ok bool) {
	if m.Known != nil {
		_ = s.catch(func() error {
			d, size, ok = m.Known()
			return nil
		})
	}
	return d, size, ok
}

// making is a making under way, the only one of its blob in this process. It is there until
// what was made has its place.
type making struct {
	job
	Making
	done atomic.Int64 // bytes that were written: by another process, while that one is waited for
}

// Make gives the blob that is made from another one: from the cache, or by the one making that
// all who want it share. It returns as soon as ctx ends, whatever becomes of the making, which
// lives as a download does. What is written is hashed beside, and kept as a download is. A making
// that fails, or is interrupted, leaves nothing: the next one starts over.
func (s *Store) Make(ctx context.Context, m Making) (*File, error) {
	if err := m.Of.Validate(); err != nil {
		return nil, fmt.Errorf("make a blob of %q: %w", m.Of, err)
	}
	for joined := 0; ; joined++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if d, size, ok := s.known(m); ok {
			if f, err := s.cached(ctx, Want{Digest: d, Size: size}); f != nil || err != nil {
				return f, err
			}
		}
		mk, began, err := s.joinMaking(ctx, m)
		if err != nil {
			return nil, err
		}
		select {
		case <-mk.ended:
		case <-ctx.Done():
			s.endWait(&mk.job, func() {})
			return nil, ctx.Err()
		}
		switch {
		case mk.err == nil && (m.Size < 0 || m.Size == mk.file.size):
			return &File{s: mk.file}, nil
		case mk.err == nil:
			_ = mk.file.release() // ours of it; who has the rest will close it
			return nil, otherSizeMade(m, mk.file.size)
		case began || joined == maxJoined || mk.From == m.From && mk.Size == m.Size:
			return nil, mk.err
		}
	}
}

// joinMaking makes one more wait for the making of a blob, and begins it where there is none.
func (s *Store) joinMaking(ctx context.Context, m Making) (mk *making, began bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false, ErrClosed
	}
	mk = s.makings[m.Of]
	if began = mk == nil; began {
		if m.Begin != nil {
			if err := m.Begin(ctx); err != nil {
				return nil, false, err
			}
		}
		mk = &making{Making: m}
		mk.room.came = mk.done.Load
		mk.forget = func() {
			if s.makings[m.Of] == mk {
				delete(s.makings, m.Of)
			}
		}
		mk.succeeded, mk.failed = &s.stats.Made, &s.stats.MakeFailures
		s.makings[m.Of] = mk
		s.begin(&mk.job, func(ctx context.Context) (*shared, *partial, error) { return s.bringMade(ctx, mk) })
	}
	s.enter(&mk.job)
	return mk, began, nil
}

// bringMade makes the whole blob in a partial file. Where another process was first there is
// only its file.
func (s *Store) bringMade(ctx context.Context, mk *making) (f *shared, p *partial, err error) {
	err = s.catch(func() (err error) {
		p, err = s.makingFile(ctx, mk)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if p.found != nil {
		return p.found.s, nil, nil
	}
	mk.done.Store(0)
	step("making")
	err = s.catch(func() (err error) {
		f, err = s.makeInto(ctx, mk, p)
		return err
	})
	if err != nil {
		s.abandon(p, true)
		return nil, nil, err
	}
	if f.f != p.f { // the store has that blob, made of another one
		s.abandon(p, true)
		p = nil
	}
	return f, p, nil
}

// makingFile is the file that a making writes to.
func (s *Store) makingFile(ctx context.Context, mk *making) (*partial, error) {
	if d, _, ok := s.known(mk.Making); ok && s.spoiled(d) {
		return s.unnamedElsewhere()
	}
	return s.partialFile(ctx, partialWant{
		path: s.madePartial(mk.Of), empty: true, waits: mk.done.Store,
		found: func() (*File, error) {
			d, size, ok := s.known(mk.Making)
			if !ok {
				return nil, fs.ErrNotExist
			}
			return s.open(d, size)
		},
	})
}

// makeInto makes a blob in a partial file, and gives its file: that one, or the one that the
// store has already.
func (s *Store) makeInto(ctx context.Context, mk *making, p *partial) (*shared, error) {
	w := s.newMadeFile(ctx, mk, p)
	err := s.catch(func() error { return mk.Write(ctx, w, w) })
	d, size, err := w.close(err)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	if known, _, ok := s.known(mk.Making); ok && known != d {
		return nil, fmt.Errorf("%w: what was made of %s is %s, where %s was known", ErrMismatch, mk.Of, d, known)
	}
	if mk.Size >= 0 && mk.Size != size {
		return nil, otherSizeMade(mk.Making, size)
	}
	step("made")
	if mk.Made != nil {
		if err := mk.Made(d, size); err != nil {
			return nil, err
		}
	}
	step("made known")
	if f, err := s.open(d, size); err == nil {
		return f.s, nil
	}
	st, err := p.f.Stat()
	if err != nil {
		return nil, err
	}
	s.ledger.pin(d) // before it has its name: eviction mustn't come between
	step("verified")
	return &shared{store: s, f: p.f, digest: d, size: size, inode: inode(st), refs: 1}, nil
}

// otherSizeMade is the error of a making that gives another size than was promised.
func otherSizeMade(m Making, size int64) error {
	return fmt.Errorf("%w: what is made of %s has %d bytes, where %d were promised", ErrMismatch, m.Of, size, m.Size)
}

// Progress is how many bytes of a blob have come, were hashed again, and of what is made of it, by
// the downloads, checks and makings that are under way; 0 where there is none. Who waits, and finds the same number
// again and again, knows that nothing moves.
func (s *Store) Progress(d digest.Digest) (bytes int64) {
	bytes = s.checker.progress(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, dl := range s.downloads[d] {
		bytes += dl.in.Done()
	}
	if mk := s.makings[d]; mk != nil {
		bytes += mk.done.Load()
	}
	return bytes
}

// transfersOfMakings lists the makings under way, the oldest first.
func (s *Store) transfersOfMakings() (ts []Transfer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for of, mk := range s.makings {
		ts = append(ts, Transfer{"unpack", of, mk.From, mk.done.Load(), mk.Size, mk.waiters, mk.started.UTC()})
	}
	slices.SortFunc(ts, olderTransfer)
	return ts
}
