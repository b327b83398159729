package upload

import "context"

// turn is held by one goroutine at a time. Waiting for a turn ends with a context. doc.go has
// the order in which turns and mutexes are taken.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn until ctx ends. Each take that succeeds is paired with a give.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// try takes the turn if nobody holds it.
func (t turn) try() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turn) give() { <-t }

// isTaken says whether somebody holds the turn.
func (t turn) isTaken() bool { return len(t) > 0 }

// take waits for a turn until ctx or the area ends.
func (a *Area) take(ctx context.Context, t turn) error {
	if t.try() {
		return nil
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-a.ctx.Done():
		return ErrClosed
	}
}
