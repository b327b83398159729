package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// row is one task, and the ways to do it.
type row struct {
	name, what string
	unit       unit
	ways       []*way
	goals      []goal
	rounds     int
	memory     int64            // bytes of memory that are touched before each turn: twice what a turn fills; 0: none
	counted    bool             // requests and bytes are compared as well
	bare       bool             // ocifs is given a digest alone, and has to ask for the size by HEAD
	more       func() []verdict // on what isn't a time; may be nil
	done       func() error     // may be nil
}

// way is how one program does it.
type way struct {
	name string
	ours bool // through ocifs
	// limit says that the way shows what is possible, such as curl's: it is no peer to
	// have fewer requests than.
	limit bool
	// before and after surround each measurement and aren't part of it. They may be nil.
	before func(ctx context.Context, round int) error
	run    func(ctx context.Context, round int) (time.Duration, error)
	after  func(ctx context.Context) error
	// memory gives the most that the daemon had in memory since before. Nil where
	// there is none.
	memory func() (int64, error)

	took   []float64 // seconds, by round
	cost   cost      // the most of all rounds
	peak   int64     // the most of all rounds, in bytes
	failed error     // what ended it: it takes no more part
}

// turns measures a row: each round every way once, the next round beginning with the
// next way. A way that fails is left out from then on. The error is the bench's own.
func (b *bench) turns(ctx context.Context, r *row) error {
	for round := range r.rounds {
		for i := range r.ways {
			w := r.ways[(i+round)%len(r.ways)]
			if w.failed != nil {
				continue
			}
			fmt.Fprintf(os.Stderr, "bench: %s, round %d of %d: %s\n", r.name, round+1, r.rounds, w.name)
			if w.failed = b.turn(ctx, w, round, r.memory); ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	return nil
}

// turn measures a way once, after it has touched so many bytes of memory.
func (b *bench) turn(ctx context.Context, w *way, round int, memory int64) (err error) {
	if w.after != nil {
		defer func() { err = errors.Join(err, w.after(context.WithoutCancel(ctx))) }()
	}
	if w.before != nil {
		if err := w.before(ctx, round); err != nil {
			return err
		}
	}
	unix.Sync()
	if memory > 0 {
		if err := touch(memory); err != nil {
			return err
		}
	}
	if err := b.server.reset(ctx); err != nil {
		return err
	}
	took, err := w.run(ctx, round)
	if err != nil {
		return err
	}
	w.took = append(w.took, took.Seconds())
	c, err := b.server.counts(ctx)
	if err != nil {
		return err
	}
	w.cost = w.cost.most(c)
	if w.memory == nil {
		return nil
	}
	peak, err := w.memory()
	w.peak = max(w.peak, peak)
	return err
}

// way finds one by its name.
func (r *row) way(name string) *way {
	for _, w := range r.ways {
		if w.name == name {
			return w
		}
	}
	panic("bench: row " + r.name + " has no way " + name)
}
