package upload

import (
	"context"
	"slices"
	"sync"
)

// turn is held by one goroutine at a time, in the order in which they asked. Waiting for a
// turn ends with a context. The zero value is free, and takes no memory of its own: a mount
// may show many thousands of files that nobody writes. doc.go has the order in which turns and
// mutexes are taken.
type turn struct {
	mu      sync.Mutex      // guards all below; no other lock is taken under it
	taken   bool            // somebody holds the turn
	waiting []chan struct{} // closed for who is given the turn, the first first
}

// take waits for the turn until ctx ends. Each take that succeeds is paired with a give.
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

// ask takes the turn, or gives a channel that is closed once it is given.
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

// leave takes back what ask asked for. A turn that was given meanwhile goes to the next.
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

// pass gives the turn to the next who waits, or to nobody. mu is held.
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
