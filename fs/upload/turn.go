package upload

import (
	"context"
	"slices"
	"sync"
)

// turn is a lock for work that takes time. One goroutine holds it at a time, and others get
// it in the order in which they asked. A wait for a turn ends with a context. The zero turn
// is free, and needs no other memory: a mount may show many thousands of files that nobody
// writes. doc.go has the order in which turns and mutexes are taken.
type turn struct {
	mu    sync.Mutex // guards the fields below; no other lock is taken under it
	taken bool       // somebody holds the turn
	// waiting are the channels of those who wait, the first one first. A channel is
	// closed when its owner gets the turn.
	waiting []chan struct{}
}

// take waits for the turn until ctx ends. After a take that succeeds, the caller must call
// give.
func (t *turn) take(ctx context.Context) error {
	given := t.ask()
	if given == nil {
		return nil
	}
	select {
	case <-given:
		return nil
	case <-ctx.Done():
		t.leave(given)
		return context.Cause(ctx)
	}
}

// try takes the turn if nobody holds it.
func (t *turn) try() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken {
		return false
	}
	t.taken = true
	return true
}

// ask takes the turn if it is free, and gives nil. Otherwise it gives a channel that is
// closed when the caller gets the turn.
func (t *turn) ask() (given chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.taken {
		t.taken = true
		return nil
	}
	given = make(chan struct{})
	t.waiting = append(t.waiting, given)
	return given
}

// leave ends the wait for given. If the turn was given meanwhile, the next one gets it.
func (t *turn) leave(given chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, given); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
		return
	}
	t.pass()
}

// give gives the turn back.
func (t *turn) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass gives the turn to the next who waits, or frees it. mu is held.
func (t *turn) pass() {
	if len(t.waiting) == 0 {
		t.taken, t.waiting = false, nil
		return
	}
	close(t.waiting[0])
	t.waiting = t.waiting[1:]
}

// isTaken says whether somebody holds the turn.
func (t *turn) isTaken() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.taken
}

// take waits for a turn until ctx or the area ends.
func (a *Area) take(ctx context.Context, t *turn) error {
	if t.try() {
		return nil
	}
	ctx, cancel := a.under(ctx)
	defer cancel()
	return t.take(ctx)
}
