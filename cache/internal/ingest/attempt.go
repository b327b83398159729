package ingest

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// Attempt is one try to bring the whole of a blob into a file: what of it is there, and
// which fetch brings what. It is safe for concurrent use.
type Attempt struct {
	in   *Ingest
	file *os.File
	come func() // tells, once, that bytes are on their way

	began chan struct{} // closed when the first byte came
	first func()        // closes began, once
	meter meter         // says how much of their time fetches wait for bytes
	hash  hasher        // of the blob

	mu     sync.Mutex      // guards what follows; no byte is in two of gaps, claims, and the file
	size   int64           // of the blob in bytes; -1: not known yet
	gaps   spans           // bytes that nobody has brought or is bringing
	claims map[*claim]bool // bytes that are being brought
	number int64           // fetches at once that the rest is divided for; 0: one fetch brings all of it
}

// begin takes up what f has of the blob.
func (in *Ingest) begin(f *os.File, coming func()) (*Attempt, error) {
	have, err := found(f, in.blob.Size)
	if err != nil {
		return nil, fmt.Errorf("read what is left of %s: %w", in.blob.Digest, err)
	}
	a := &Attempt{in: in, file: f, come: sync.OnceFunc(coming), began: make(chan struct{}), size: in.blob.Size, claims: map[*claim]bool{}}
	a.first = sync.OnceFunc(func() { close(a.began) })
	a.hash.h = newHash(in.blob.Digest.Algorithm())
	end := a.size
	if end < 0 {
		end = math.MaxInt64
	}
	a.gaps = spans{}.with(span{0, end})
	for _, h := range have {
		a.gaps = a.gaps.without(h)
	}
	in.done.Store(have.len())
	in.attempt.Store(a)
	in.changed.tell()
	return a, nil
}

// found gives what an earlier ingest left in f of a blob of a size. f is emptied where it
// is longer than the blob, or the size isn't known: it may have all of it, and no origin
// can be asked for the bytes behind the end.
func found(f *os.File, size int64) (spans, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if size < 0 || st.Size() > size {
		return nil, f.Truncate(0)
	}
	return written(f)
}

// Has says whether all bytes from one offset up to another have come.
func (a *Attempt) Has(from, to int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := span{from, to}
	for c := range a.claims {
		if (spans{c.span}).meets(s) {
			return false
		}
	}
	return !a.gaps.meets(s)
}

// ReadAt reads as io.ReaderAt does. Only what Has says is there is the blob's, and even
// that may turn out to be wrong until Run gives no error.
func (a *Attempt) ReadAt(p []byte, off int64) (int, error) { return a.file.ReadAt(p, off) }

// run brings what is missing, and hashes all of it. It gives the size.
func (a *Attempt) run(ctx context.Context, parts int) (int64, error) {
	a.in.o.Coming.Add(1)
	defer a.in.o.Coming.Add(-1)
	g, ctx := errgroup.WithContext(ctx)
	all, done := context.WithCancel(ctx)
	g.Go(func() error {
		defer done()
		return a.in.o.Catch(func() error { return a.lead(ctx) })
	})
	g.Go(func() error {
		return a.in.o.Catch(func() error {
			a.help(all, parts)
			return nil
		})
	})
	g.Go(func() error { return a.in.o.Catch(func() error { return a.follow(ctx) }) })
	if err := g.Wait(); err != nil {
		return 0, err
	}
	if got := digest.NewDigest(a.in.blob.Digest.Algorithm(), a.hash.h); got != a.in.blob.Digest {
		return 0, fmt.Errorf("%w: what came for %s is %s", ErrMismatch, a.in.blob.Digest, got)
	}
	return a.size, nil
}

// lead brings what nobody else does, until everything is there.
func (a *Attempt) lead(ctx context.Context) error {
	for {
		moved := a.in.changed.next()
		c, others := a.take()
		if c == nil && !others {
			return nil
		}
		if c == nil { // who fails leaves something
			select {
			case <-moved:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		end, whole := a.reach(c)
		length := end - c.asked.from
		if whole {
			length = -1
		}
		if err := a.bring(ctx, c, a.in.blob.Fetch, length, end); err != nil {
			return err
		}
	}
}

// bring fetches length bytes, or all, from a claim's start on. It claims what follows up
// to end, where nobody else did. What wasn't brought is a gap again.
func (a *Attempt) bring(ctx context.Context, c *claim, fetch Fetch, length, end int64) error {
	defer a.release(c)
	if err := a.in.gate.pass(ctx); err != nil {
		return err
	}
	w := a.in.blob
	at := c.asked.from
	body, err := fetch(ctx, at, length)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", w.Digest, err)
	}
	defer body.Close()
	if !a.answer(c) {
		return nil // another fetch was here first
	}
	a.come()
	a.meter.add(1, 0)
	defer a.meter.add(-1, 0)
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	for {
		if err := a.in.gate.pass(ctx); err != nil {
			return err
		}
		room, last := a.room(c, end)
		if room == 0 && !last {
			return nil // others have what follows
		}
		a.meter.add(0, 1)
		n, rerr := body.Read((*bp)[:max(1, min(room, int64(len(*bp))))])
		a.meter.add(0, -1)
		if n > 0 && room == 0 {
			return fmt.Errorf("%w: %s is longer than its %d bytes", ErrMismatch, w.Digest, w.Size)
		}
		if n > 0 {
			if err := a.in.o.Write(a.file, (*bp)[:n], at); err != nil {
				return err
			}
			hashed := a.in.handsOver() && a.hash.take((*bp)[:n], at)
			at += int64(n)
			a.came(c, n, hashed)
		}
		switch {
		case rerr == io.EOF && !a.ends(c):
			return fmt.Errorf("%w: %s ended after %d of its %d bytes", ErrMismatch, w.Digest, at, w.Size)
		case rerr == io.EOF:
			return nil
		case rerr != nil:
			return fmt.Errorf("fetch %s: %w", w.Digest, rerr)
		}
	}
}

// follow hashes the bytes that have come and that no fetch handed over, until all are hashed. It reads
// the file, whose pages are in memory.
func (a *Attempt) follow(ctx context.Context) error {
	for {
		moved := a.hash.behind.next()
		a.mu.Lock()
		front, size := a.front(), a.size
		a.mu.Unlock()
		at, err := a.hash.catchUp(ctx, a.file, front)
		switch {
		case err != nil:
			return err
		case at == size:
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
