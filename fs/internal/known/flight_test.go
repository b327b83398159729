package known

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// Many who want the same get it by one piece of work.
func TestFlightWorksOnce(t *testing.T) {
	var f flight[string, int]
	var runs atomic.Int32
	release := make(chan struct{})
	var wg sync.WaitGroup
	started := make(chan struct{}, 1)
	for range 50 {
		wg.Go(func() {
			v, err := f.do(t.Context(), "k", func(context.Context) (int, error) {
				runs.Add(1)
				started <- struct{}{}
				<-release
				return 7, nil
			})
			if v != 7 || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
		})
	}
	<-started
	for waiting := 0; waiting < 50; {
		f.mu.Lock()
		waiting = f.calls["k"].waiters
		f.mu.Unlock()
	}
	close(release)
	wg.Wait()
	if n := runs.Load(); n != 1 {
		t.Errorf("the work ran %d times", n)
	}
}

// One who is interrupted leaves at once; the work goes on for the others, and
// is cancelled when the last has left.
func TestFlightLivesWhileAnyoneWaits(t *testing.T) {
	var f flight[string, int]
	started, cancelled := make(chan struct{}), make(chan struct{})
	work := func(ctx context.Context) (int, error) {
		close(started)
		<-ctx.Done()
		close(cancelled)
		return 0, ctx.Err()
	}
	ctx1, cancel1 := context.WithCancel(t.Context())
	ctx2, cancel2 := context.WithCancel(t.Context())
	left := make(chan error, 2)
	go func() { _, err := f.do(ctx1, "k", work); left <- err }()
	<-started
	go func() { _, err := f.do(ctx2, "k", work); left <- err }()
	for waiters := 1; waiters < 2; {
		f.mu.Lock()
		waiters = f.calls["k"].waiters
		f.mu.Unlock()
	}
	cancel1()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the first left with %v", err)
	}
	select {
	case <-cancelled:
		t.Fatal("the work was cancelled while someone waited")
	default:
	}
	cancel2()
	<-left
	<-cancelled
}

// A panic fails those who wait, and nobody else.
func TestFlightSurvivesPanics(t *testing.T) {
	var f flight[int, int]
	if _, err := f.do(t.Context(), 1, func(context.Context) (int, error) { panic("oops") }); err == nil {
		t.Error("no error")
	}
	if v, err := f.do(t.Context(), 1, func(context.Context) (int, error) { return 2, nil }); v != 2 || err != nil {
		t.Errorf("after a panic: %d, %v", v, err)
	}
}
