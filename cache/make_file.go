package cache

import (
	"context"
	"fmt"
	"hash"
	"io/fs"
	"math"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache/internal/ingest"
)

// madeFile is the file of a making while it is written. It is hashed beside, by a goroutine that
// reads back what was written: the writer waits for no hash, and the bytes are in the kernel's
// cache of pages yet. It is safe for concurrent use.
type madeFile struct {
	s     *Store
	mk    *making
	f     *os.File
	ctx   context.Context // of the making
	room  growth
	more  chan struct{} // wakes the hashing; closed when all is written
	ended chan struct{} // closed when the hashing is over; hashErr is set before

	hash    hash.Hash // the hashing's alone, until ended is closed
	hashErr error

	mu     sync.Mutex // guards closed, and writes one after the other
	closed bool
}

func (s *Store) newMadeFile(ctx context.Context, mk *making, p *partial) *madeFile {
	w := &madeFile{
		s: s, mk: mk, f: p.f, ctx: ctx, hash: digest.SHA256.Hash(),
		room: growth{s: s, of: &mk.room, size: mk.Size},
		more: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if p.path == "" {
		w.room.never() // it isn't kept
	}
	go w.hashAll()
	return w
}

// Write adds to the end.
func (w *madeFile) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	if w.closed {
		return 0, fs.ErrClosed
	}
	at := w.mk.done.Load()
	end := at + int64(len(b))
	if w.mk.Size >= 0 && end > w.mk.Size {
		return 0, fmt.Errorf("%w: what is made of %s has more than the %d bytes that were promised", ErrMismatch, w.mk.Of, w.mk.Size)
	}
	w.room.upTo(end)
	if err := w.s.write(w.f, b, at); err != nil {
		return 0, err
	}
	w.mk.done.Store(end)
	select {
	case w.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

// ReadAt reads back what was written.
func (w *madeFile) ReadAt(b []byte, off int64) (int, error) { return w.f.ReadAt(b, off) }

// hashAll hashes what is written, until close.
func (w *madeFile) hashAll() {
	defer close(w.ended)
	var hashed int64
	for open := true; open && w.hashErr == nil; {
		_, open = <-w.more
		to := w.mk.done.Load()
		w.hashErr = ingest.HashRange(w.ctx, w.hash, w.f, hashed, to)
		hashed = to
	}
}

// close ends the writing, and gives the digest and the size of all that was written. err is what
// came of the writing.
func (w *madeFile) close(err error) (digest.Digest, int64, error) {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	close(w.more)
	<-w.ended
	if err == nil && w.hashErr != nil {
		err = fmt.Errorf("hash what was made of %s: %w", w.mk.Of, w.hashErr)
	}
	if err != nil {
		return "", 0, err
	}
	return digest.NewDigest(digest.SHA256, w.hash), w.mk.done.Load(), nil
}

// growStep is how much more is reserved at least when a reservation grows, in bytes, and a quarter
// of what is there: an eviction is asked for some 40 times for a gigabyte, which takes microseconds
// where there is room, and not much more goes than is needed.
const growStep = 256 << 10

// growth reserves room for a file while it is written: at once where its size is known, and else
// by and by. What is larger than the bound isn't kept, and nothing has to go for it.
type growth struct {
	s        *Store
	of       *reservation
	size     int64 // of the file, in bytes; -1: not known
	reserved int64 // up to which nothing more is to be reserved
}

// never has nothing more reserved.
func (g *growth) never() { g.reserved = math.MaxInt64 }

// upTo makes room before bytes are written up to end.
func (g *growth) upTo(end int64) {
	if end <= g.reserved {
		return
	}
	limit, want := g.s.limit(), g.size
	if want < 0 {
		want = max(end, min(end+max(growStep, end/4), limit))
	}
	if want > limit {
		g.never()
		g.s.ledger.release(g.of)
		return
	}
	g.reserved = want
	g.s.reserve(g.of, inBlocks(want))
}
