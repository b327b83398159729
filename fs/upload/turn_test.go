package upload

import (
	"context"
	"sync"
	"testing"
)

// A turn goes round in the order in which it was asked for, and a wait that is left loses
// nobody the turn.
func TestATurnGoesRound(t *testing.T) {
	var turn turn
	if err := turn.take(t.Context()); err != nil || !turn.isTaken() || turn.try() {
		t.Fatalf("a turn that is taken: %v", err)
	}
	left, leave := context.WithCancel(t.Context())
	first, second := turn.ask(), turn.ask()
	gone := make(chan error)
	go func() { gone <- turn.take(left) }()
	leave()
	if err := <-gone; err == nil {
		t.Error("a wait that was left got the turn")
	}
	turn.give()
	<-first
	turn.leave(first) // it was given and left at once: the next has it
	<-second
	turn.give()
	if turn.isTaken() || !turn.try() {
		t.Error("the turn is lost")
	}
	turn.give()
}

// One holds a turn at a time, however many wait and leave.
func TestATurnIsOfOne(t *testing.T) {
	var turn turn
	var all sync.WaitGroup
	held := 0
	for i := range 50 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for range 200 {
				if i%5 == 0 {
					go cancel()
				}
				if turn.take(ctx) != nil {
					ctx, cancel = context.WithCancel(t.Context())
					defer cancel()
					continue
				}
				held++
				if held != 1 {
					t.Errorf("%d hold it", held)
				}
				held--
				turn.give()
			}
		})
	}
	all.Wait()
	if turn.isTaken() {
		t.Error("the turn is lost")
	}
}
