package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
)

// gatedOrigin is an origin that sends the first bytes at once and the rest when let is closed,
// and counts what it sent.
type gatedOrigin struct {
	b       []byte
	first   int64
	let     chan struct{}
	sent    atomic.Int64
	fetches atomic.Int64
	offset  atomic.Int64 // of the last fetch
	open    atomic.Int64 // bodies
}

func (p *gatedOrigin) want() Want {
	return Want{Digest: digest.FromBytes(p.b), Size: int64(len(p.b)), From: "gatedOrigin", Fetch: func(ctx context.Context, offset, _ int64) (io.ReadCloser, error) {
		p.fetches.Add(1)
		p.offset.Store(offset)
		p.open.Add(1)
		return &gatedBody{p, ctx, offset}, nil
	}}
}

type gatedBody struct {
	p   *gatedOrigin
	ctx context.Context
	at  int64
}

func (b *gatedBody) Read(to []byte) (int, error) {
	end := b.p.first
	if b.at >= end {
		select {
		case <-b.p.let:
			end = int64(len(b.p.b))
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	if b.at == end {
		return 0, io.EOF
	}
	n := copy(to, b.p.b[b.at:end])
	b.at += int64(n)
	b.p.sent.Add(int64(n))
	return n, nil
}

func (b *gatedBody) Close() error {
	b.p.open.Add(-1)
	return nil
}

// oneBuffer is what a connection may bring after nobody waits any more.
const oneBuffer = 256 << 10

// abandoned reads a byte of a stream and closes it, in a time of its own, and lets the
// origin send all then.
func abandoned(t *testing.T, then func(t *testing.T, s *Store, p *gatedOrigin)) {
	dir := t.TempDir()
	b := content(5, 16<<20)
	w := (&gatedOrigin{b: b}).want()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{Grace: 10 * time.Second})
		p := &gatedOrigin{b: b, first: 2 << 20, let: make(chan struct{})}
		st := s.Stream(p.want())
		if _, err := st.ReadAt(t.Context(), make([]byte, 1), 0); err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		close(p.let)
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if sent := p.sent.Load(); sent > p.first+oneBuffer {
			t.Errorf("%d bytes were sent to nobody", sent-p.first)
		}
		if len(s.Transfers()) != 1 || s.Transfers()[0].Digest != w.Digest {
			t.Errorf("it ended early: %+v", s.Transfers())
		}
		then(t, s, p)
	})
}

func TestAnAbandonedStreamHoldsStillAndEnds(t *testing.T) {
	abandoned(t, func(t *testing.T, s *Store, p *gatedOrigin) {
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(s.Transfers()) != 0 || p.open.Load() != 0 {
			t.Errorf("it goes on: %+v, %d bodies are open", s.Transfers(), p.open.Load())
		}
		sent := p.sent.Load()
		holds(t, get(t, s, p.want()), p.b)
		if p.offset.Load() == 0 || p.sent.Load()-sent > int64(len(p.b))-p.offset.Load() {
			t.Errorf("the next reader began at %d of the %d bytes that had come", p.offset.Load(), sent)
		}
	})
}

func TestWhoComesBackToAnAbandonedStreamWakesIt(t *testing.T) {
	for name, read := range map[string]func(t *testing.T, s *Store, w Want, b []byte){
		"to read it whole": func(t *testing.T, s *Store, w Want, b []byte) { holds(t, get(t, s, w), b) },
		"to read it as it comes": func(t *testing.T, s *Store, w Want, b []byte) {
			st := s.Stream(w)
			defer st.Close()
			got := make([]byte, len(b))
			if n, err := st.ReadAt(t.Context(), got, 0); n != len(b) || !bytes.Equal(got, b) {
				t.Errorf("%d bytes, %v", n, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			abandoned(t, func(t *testing.T, s *Store, p *gatedOrigin) {
				read(t, s, p.want(), p.b)
				if p.fetches.Load() != 1 || p.sent.Load() != int64(len(p.b)) {
					t.Errorf("%d fetches, %d bytes sent", p.fetches.Load(), p.sent.Load())
				}
				settled(t, s)
			})
		})
	}
}

// Each reader of a stream leaves with its own context, whoever else waits.
func TestASecondReaderOfAStreamLeavesWhileTheFirstWaits(t *testing.T) {
	dir := t.TempDir()
	b := content(3, 4*heldBack)
	(&gatedOrigin{b: b}).want()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{Grace: time.Millisecond})
		p := &gatedOrigin{b: b, let: make(chan struct{})}
		other := p.want()
		other.From = "another"
		ctxOther, cancelOther := context.WithCancel(t.Context())
		defer cancelOther()
		c := start(ctxOther, s, other, 1)
		synctest.Wait()
		st := s.Stream(p.want())
		ctxFirst, cancelFirst := context.WithCancel(t.Context())
		defer cancelFirst()
		first := make(chan error, 1)
		go func() {
			_, err := st.ReadAt(ctxFirst, make([]byte, 1), 0)
			first <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := st.ReadAt(ctx, make([]byte, 1), 0); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 50*time.Millisecond {
			t.Errorf("the second: %v after %s", err, time.Since(began))
		}
		began = time.Now()
		if err := st.Close(); err != nil || time.Since(began) != 0 {
			t.Errorf("Close: %v after %s", err, time.Since(began))
		}
		cancelFirst()
		if err := <-first; !errors.Is(err, context.Canceled) && !errors.Is(err, ErrClosed) {
			t.Errorf("the first: %v", err)
		}
		cancelOther()
		<-c
		time.Sleep(time.Second)
		synctest.Wait()
		if n := s.Stats().Open; n != 0 || len(s.Transfers()) != 0 {
			t.Errorf("%d are open, %+v", n, s.Transfers())
		}
	})
}
