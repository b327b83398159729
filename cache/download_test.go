package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
)

// slow is a body that doesn't come before it is let go, or its context ends.
type slow struct {
	ctx context.Context
	let chan struct{}
	io.Reader
}

func (b slow) Read(p []byte) (int, error) {
	select {
	case <-b.let:
		return b.Reader.Read(p)
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}
func (slow) Close() error { return nil }

// held gives a Want whose bytes come when let is closed, and counts its fetches.
func held(b []byte) (w Want, let chan struct{}, fetches *atomic.Int64) {
	let, fetches = make(chan struct{}), new(atomic.Int64)
	return Want{Digest: digest.FromBytes(b), Size: int64(len(b)), From: "test", Fetch: func(ctx context.Context, off, _ int64) (io.ReadCloser, error) {
		fetches.Add(1)
		return slow{ctx, let, bytes.NewReader(b[off:])}, nil
	}}, let, fetches
}

type outcome struct {
	f   *File
	err error
}

// start gets n times at once.
func start(ctx context.Context, s *Store, w Want, n int) <-chan outcome {
	c := make(chan outcome, n)
	for range n {
		go func() {
			f, err := s.Get(ctx, w)
			c <- outcome{f, err}
		}()
	}
	return c
}

// waiting says how many wait for the one download under way.
func waiting(s *Store) int {
	if ts := s.Transfers(); len(ts) == 1 {
		return ts[0].Waiters
	}
	return -1
}

func TestAThousandGetsAreOneFetchAndOneDescriptor(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 100<<10)
	w, let, fetches := held(b)
	c := start(t.Context(), s, w, 1000)
	eventually(t, "all wait", func() bool { return waiting(s) == 1000 })
	if tr := s.Transfers()[0]; tr.Digest != w.Digest || tr.Size != w.Size || tr.From != "test" || tr.Done != 0 {
		t.Errorf("transfer: %+v", tr)
	}
	close(let)
	fds := map[uintptr]bool{}
	var all []*File
	for range 1000 {
		o := <-c
		if o.err != nil {
			t.Fatal(o.err)
		}
		fds[o.f.Fd()] = true
		all = append(all, o.f)
	}
	if fetches.Load() != 1 || len(fds) != 1 {
		t.Errorf("%d fetches, %d descriptors", fetches.Load(), len(fds))
	}
	for _, f := range all[1:] {
		_ = f.Close()
		_ = f.Close() // mustn't take another's share
	}
	holds(t, all[0], b)
	_ = all[0].Close()
	eventually(t, "nothing is open", func() bool { return s.Stats().Open == 0 })
}

func TestAnInterruptedWaiterLeavesAndTheOthersGoOn(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 1000)
	w, let, fetches := held(b)
	others := start(t.Context(), s, w, 3)
	ctx, interrupt := context.WithCancel(t.Context())
	one := start(ctx, s, w, 1)
	eventually(t, "all wait", func() bool { return waiting(s) == 4 })
	interrupt()
	if o := <-one; !errors.Is(o.err, context.Canceled) { // while the body still stands
		t.Errorf("got %v", o.err)
	}
	if n := waiting(s); n != 3 {
		t.Errorf("%d wait", n)
	}
	close(let)
	for range 3 {
		o := <-others
		if o.err != nil {
			t.Fatal(o.err)
		}
		holds(t, o.f, b)
		_ = o.f.Close()
	}
	if fetches.Load() != 1 {
		t.Errorf("%d fetches", fetches.Load())
	}
	if _, err := s.Get(ctx, w); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that had ended: %v", err)
	}
}

// grace runs a download that loses its last waiter, in a time of its own.
func grace(t *testing.T, then func(s *Store, w Want, let chan struct{}, fetches *atomic.Int64)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, Options{Grace: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		w, let, fetches := held(content(1, 1000))
		ctx, cancel := context.WithCancel(t.Context())
		c := start(ctx, s, w, 1)
		synctest.Wait()
		cancel()
		if o := <-c; !errors.Is(o.err, context.Canceled) {
			t.Fatalf("got %v", o.err)
		}
		then(s, w, let, fetches)
	})
}

func TestADownloadThatNobodyWaitsForEndsAfterGrace(t *testing.T) {
	grace(t, func(s *Store, _ Want, _ chan struct{}, _ *atomic.Int64) {
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if waiting(s) != 0 {
			t.Error("it ended early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(s.Transfers()) != 0 || s.Stats().Failures != 1 {
			t.Error("it goes on")
		}
	})
}

func TestWhoComesWithinGraceTakesTheDownloadOver(t *testing.T) {
	grace(t, func(s *Store, w Want, let chan struct{}, fetches *atomic.Int64) {
		time.Sleep(9 * time.Second)
		c := start(context.Background(), s, w, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if waiting(s) != 1 {
			t.Error("it ended though someone waits")
		}
		close(let)
		o := <-c
		if o.err != nil || fetches.Load() != 1 {
			t.Errorf("%v, %d fetches", o.err, fetches.Load())
			return
		}
		_ = o.f.Close()
	})
}

func TestADownloadWithinGraceIsKept(t *testing.T) {
	grace(t, func(s *Store, w Want, let chan struct{}, _ *atomic.Int64) {
		close(let)
		synctest.Wait()
		f, err := s.Open(w.Digest, w.Size)
		if err != nil {
			t.Error(err)
			return
		}
		_ = f.Close()
	})
}

func TestAnErrorGoesToAllAndTheNextGetStartsAnew(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 1000)
	w, _, _ := held(b)
	broken, let := errors.New("broken"), make(chan struct{})
	var fetches atomic.Int64
	w.Fetch = func(ctx context.Context, off, _ int64) (io.ReadCloser, error) {
		if fetches.Add(1) == 1 {
			<-let
			return nil, broken
		}
		return io.NopCloser(bytes.NewReader(b[off:])), nil
	}
	c := start(t.Context(), s, w, 50)
	eventually(t, "all wait", func() bool { return waiting(s) == 50 })
	close(let)
	for range 50 {
		if o := <-c; !errors.Is(o.err, broken) {
			t.Errorf("got %v", o.err)
		}
	}
	empty(t, s)
	holds(t, get(t, s, w), b)
	if fetches.Load() != 2 {
		t.Errorf("%d fetches", fetches.Load())
	}
}

func TestCloseEndsTheGetsThatRun(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	w, _, _ := held(content(1, 1000))
	c := start(t.Context(), s, w, 10)
	eventually(t, "all wait", func() bool { return waiting(s) == 10 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if o := <-c; !errors.Is(o.err, ErrClosed) {
			t.Errorf("got %v", o.err)
		}
	}
	if _, err := s.Get(t.Context(), w); !errors.Is(err, ErrClosed) {
		t.Errorf("afterwards: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestCloseLeavesNoGoroutineAndNoDescriptor(t *testing.T) {
	fds := func() int {
		e, err := os.ReadDir("/dev/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(e)
	}
	goroutines := func() int { // of this package, but the test's own
		b := make([]byte, 1<<20)
		return strings.Count(string(b[:runtime.Stack(b, true)]), "cache.(*Store)")
	}
	before := fds()
	s := open(t, t.TempDir(), Options{})
	b := content(1, 1000)
	fill(t, s, b)
	var wg sync.WaitGroup
	for i := range 10 {
		w, let, _ := held(content(byte(10+i), 1000))
		ctx, cancel := context.WithCancel(t.Context())
		if i%2 == 0 {
			cancel() // some go at once, some are ended by Close
		}
		wg.Go(func() {
			defer cancel()
			if f, err := s.Get(ctx, w); err == nil {
				_ = f.Close()
			}
		})
		if i%3 == 0 {
			close(let)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	eventually(t, "no descriptor and no goroutine is left", func() bool { return fds() <= before && goroutines() == 0 })
}

// A waiter that comes in the moment in which a grace period ends, and leaves at once, leaves a grace
// period of its own behind.
func TestEachLastWaiterLeavesAWholeGrace(t *testing.T) {
	for range 200 { // which of the two comes first is chance
		grace(t, func(s *Store, w Want, _ chan struct{}, _ *atomic.Int64) {
			time.Sleep(s.grace)
			dl, _, err := s.join(context.Background(), w, false)
			if err != nil {
				t.Error(err)
				return
			}
			s.leave(dl)
			synctest.Wait()
			if n := len(s.Transfers()); n != 1 {
				t.Errorf("%d downloads are under way", n)
			}
		})
		if t.Failed() {
			return
		}
	}
}
