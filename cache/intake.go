package cache

import (
	"context"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// intake is the way of one blob into its partial file: what of it is there, and who
// brings the rest. What has come is hashed behind the first byte that hasn't. It is safe
// for concurrent use.
type intake struct {
	s    *Store
	dl   *download
	f    *os.File
	come func() // is told when bytes are on their way

	waited atomic.Int64 // nanoseconds that fetches waited for bytes

	mu     sync.Mutex
	size   int64           // -1: not known yet
	gaps   spans           // what nobody has brought or is bringing
	claims map[*claim]bool // what is being brought
	part   int64           // how much is claimed at once
}

// claim is bytes that one fetch is to bring, and hasn't brought yet.
type claim struct{ span }

// newIntake takes up what a partial file has.
func (s *Store) newIntake(dl *download, p *partial, come func()) (*intake, error) {
	have, err := p.have(dl.want.Size)
	if err != nil {
		return nil, err
	}
	in := &intake{s: s, dl: dl, f: p.f, come: sync.OnceFunc(come), size: dl.want.Size, claims: map[*claim]bool{}, part: partAlign}
	end := in.size
	if end < 0 {
		end = math.MaxInt64
	}
	in.gaps = spans{}.with(span{0, end})
	for _, h := range have {
		in.gaps = in.gaps.without(h)
	}
	dl.done.Store(have.len())
	dl.in.Store(in)
	dl.moved.tell()
	return in, nil
}

// run brings what is missing, and hashes all of it. It gives the size.
func (in *intake) run(ctx context.Context, parts int) (int64, error) {
	h := in.dl.want.Digest.Algorithm().Hash()
	g, ctx := errgroup.WithContext(ctx)
	all, done := context.WithCancel(ctx)
	g.Go(func() error {
		defer done()
		return in.s.catch(func() error { return in.lead(ctx) })
	})
	g.Go(func() error {
		return in.s.catch(func() error {
			in.help(all, parts)
			return nil
		})
	})
	g.Go(func() error { return in.s.catch(func() error { return in.follow(ctx, h) }) })
	if err := g.Wait(); err != nil {
		return 0, err
	}
	if got := digest.NewDigest(in.dl.want.Digest.Algorithm(), h); got != in.dl.want.Digest {
		return 0, fmt.Errorf("%w: what came for %s is %s", ErrMismatch, in.dl.want.Digest, got)
	}
	return in.size, nil
}

// lead brings what nobody else does, until everything is there.
func (in *intake) lead(ctx context.Context) error {
	for {
		moved := in.dl.moved.next()
		c, others := in.take()
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
		end, whole := in.reach(c)
		length := end - c.from
		if whole {
			length = -1
		}
		if err := in.bring(ctx, c, in.dl.want.Fetch, length, end); err != nil {
			return err
		}
	}
}

// take claims the first gap, or as much of it as is claimed at once. Where there is no
// gap, others says whether there are those who bring something.
func (in *intake) take() (c *claim, others bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.gaps) == 0 {
		return nil, len(in.claims) > 0
	}
	c = &claim{span{in.gaps[0].from, in.gaps[0].from}}
	in.claims[c] = true
	in.extend(c, in.gaps[0].to)
	return c, true
}

// extend has a claim go on into the gap behind it, if there is one, but not beyond end.
// mu is held.
func (in *intake) extend(c *claim, end int64) {
	for _, g := range in.gaps {
		if g.from == c.to {
			if end = min(end, g.to); end-g.from > in.part {
				end = min(end, (g.from+in.part+partAlign-1)/partAlign*partAlign)
			}
			c.to = end
			in.gaps = in.gaps.without(span{g.from, end})
			return
		}
	}
}

// reach is up to where a claim's fetch asks: to the claim's end, where others bring what
// follows, and else to what is there. whole says that it is the blob's end.
func (in *intake) reach(c *claim) (end int64, whole bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	end = c.to
	for _, g := range in.gaps {
		if g.from == end && len(in.claims) == 1 {
			end = g.to
		}
	}
	return end, in.size < 0 || end == in.size
}

// bring fetches length bytes, or all, from a claim's start on. It claims what follows up
// to end, where nobody else did. What wasn't brought is a gap again.
func (in *intake) bring(ctx context.Context, c *claim, fetch Fetch, length, end int64) error {
	defer in.release(c)
	w := in.dl.want
	at := c.from
	body, err := fetch(ctx, at, length)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", w.Digest, err)
	}
	defer body.Close()
	in.come()
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		room, last := in.room(c, end)
		if room == 0 && !last {
			return nil // others have what follows
		}
		began := time.Now()
		n, rerr := body.Read((*bp)[:max(1, min(room, int64(len(*bp))))])
		in.waited.Add(int64(time.Since(began)))
		if n > 0 && room == 0 {
			return fmt.Errorf("%w: %s is longer than its %d bytes", ErrMismatch, w.Digest, w.Size)
		}
		if n > 0 {
			if err := in.s.write(in.f, (*bp)[:n], at); err != nil {
				return err
			}
			at += int64(n)
			in.came(c, n)
		}
		switch {
		case rerr == io.EOF && !in.ends(c):
			return fmt.Errorf("%w: %s ended after %d of its %d bytes", ErrMismatch, w.Digest, at, w.Size)
		case rerr == io.EOF:
			return nil
		case rerr != nil:
			return fmt.Errorf("fetch %s: %w", w.Digest, rerr)
		}
	}
}

// room is how much may be read for a claim, and whether it ends where the blob does.
func (in *intake) room(c *claim, end int64) (n int64, last bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if c.len() == 0 && c.to < end {
		in.extend(c, end)
	}
	return c.len(), c.to == in.size
}

// came takes note of bytes that were claimed.
func (in *intake) came(c *claim, n int) {
	in.dl.done.Add(int64(n))
	in.s.came.Add(int64(n))
	in.mu.Lock()
	defer in.mu.Unlock()
	c.from += int64(n)
	in.dl.moved.tell()
}

// ends says whether a claim's body may end now. Where the size isn't known, it is now.
func (in *intake) ends(c *claim) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.size < 0 {
		in.size, in.gaps, c.to = c.from, nil, c.from
		in.dl.moved.tell()
	}
	return c.len() == 0
}

// release gives back what wasn't brought.
func (in *intake) release(c *claim) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.claims, c)
	in.gaps = in.gaps.with(c.span)
	in.dl.moved.tell()
}

// follow hashes what has come, in order, until all has.
func (in *intake) follow(ctx context.Context, h hash.Hash) error {
	for at := int64(0); ; {
		moved := in.dl.moved.next()
		in.mu.Lock()
		front, size := in.front(), in.size
		in.mu.Unlock()
		switch {
		case at == size:
			return nil
		case at < front:
			if err := hashRange(ctx, h, in.f, at, front); err != nil {
				return err
			}
			at = front
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// front is up to where everything has come. mu is held.
func (in *intake) front() int64 {
	front := in.size
	if front < 0 {
		front = math.MaxInt64
	}
	if len(in.gaps) > 0 {
		front = in.gaps[0].from
	}
	for c := range in.claims {
		if c.len() > 0 {
			front = min(front, c.from)
		}
	}
	return front
}

// left is how much is to come; mu is held.
func (in *intake) left() int64 {
	n := in.gaps.len()
	for c := range in.claims {
		n += c.len()
	}
	return n
}
