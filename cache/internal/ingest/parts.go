package ingest

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// The first fetch of a blob is for all of it. Others come to its help, each for a part,
// where one connection turns out to be what holds a large blob up: when its fetch waited
// for bytes through most of two moments, and not for the disk, less than enough came for
// this and all other blobs together, and it will take a while yet. There are more of
// them for as long as more of them bring more. So a registry that is near is asked once,
// and one that is far as often as that pays.
//
// The numbers are choices, tried against fake lines (parts_test.go of package cache); none is
// of a specification.
const (
	partsFrom = 64 << 20               // bytes that are to come, for parts to be worth their requests
	enough    = 64 << 20               // bytes a second that one connection brings where no help is needed
	mostly    = 0.75                   // of a moment that a fetch waits for bytes, where the line is what is slow
	aWhile    = time.Second            // is left without help
	moment    = 125 * time.Millisecond // is how long a rate is measured
	growth    = 4                      // times as many connections are tried, for
	paysOff   = 1.25                   // times as many bytes a second at least
	leastPart = 4 << 20                // bytes of a part
	mostPart  = 32 << 20               // bytes of a part
	partAlign = 1 << 20                // so that no block of the disk has bytes of two parts
)

// help has others bring parts, until ctx ends, and waits for them.
func (a *Attempt) help(ctx context.Context, most int) {
	if a.in.blob.Part == nil || most < 2 || !a.large() {
		return
	}
	var (
		helpers sync.WaitGroup
		under   atomic.Int32
		refused atomic.Bool
	)
	defer helpers.Wait()
	tick := time.NewTicker(moment)
	defer tick.Stop()
	var (
		last   = a.figures()
		whole  = false // the moment that is over was whole
		slow   = 0     // moments on end that were
		before = 0.    // bytes a second, when their number was changed
		number = 1
	)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := a.figures()
		rate := float64(now.came-last.came) / moment.Seconds()
		all := float64(now.all-last.all) / moment.Seconds()
		waited := float64(now.waited-last.waited) / float64(moment) / float64(1+under.Load())
		last = now
		if slow++; all >= enough*float64(number) || waited < mostly {
			slow = 0
		}
		switch {
		case refused.Load():
			return
		case rate == 0 || !whole:
			whole, slow = rate > 0, 0
			continue
		case a.soon(rate):
		case number < most && slow > 0 && (slow > 1 || number > 1) && rate >= before*paysOff:
			before, number, whole = rate, min(most, number*growth), false
			a.divide(most)
		}
		for range number - 1 - int(under.Load()) {
			if a.soon(rate) {
				break
			}
			under.Add(1)
			helpers.Go(func() {
				defer under.Add(-1)
				if err := a.in.o.Catch(func() error { return a.bringParts(ctx) }); err != nil && !errors.Is(err, ErrNoPlace) {
					refused.Store(true)
					a.in.o.Log.Debug("a blob isn't had in parts", "digest", a.in.blob.Digest, "cause", err)
				}
			})
		}
	}
}

// figures are counts since the beginning.
type figures struct {
	came, all int64 // bytes of the blob, and of all blobs
	waited    int64 // nanoseconds
}

func (a *Attempt) figures() figures {
	return figures{a.in.done.Load(), a.in.o.Arrived.Load(), a.waited.Load()}
}

func (a *Attempt) large() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.size >= 0 && a.left() >= partsFrom
}

// soon says whether the rest comes within a while anyway.
func (a *Attempt) soon(rate float64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return float64(a.left()) < rate*aWhile.Seconds()
}

// divide has parts be claimed from now on, and leaves one to the fetch that is under
// way.
func (a *Attempt) divide(most int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.part > partAlign {
		return // long ago
	}
	a.part = min(max(a.left()/int64(2*most), leastPart), mostPart)
	for c := range a.claims {
		a.extend(c, math.MaxInt64)
	}
}

// bringParts brings parts until there are none left. An error is nobody's but its own:
// what it didn't bring others do.
func (a *Attempt) bringParts(ctx context.Context) error {
	for {
		c, _ := a.take()
		if c == nil {
			return nil
		}
		if err := a.bring(ctx, c, a.in.blob.Part, c.len(), c.to); err != nil {
			return err
		}
	}
}

// divided says whether some of it came in parts.
func (a *Attempt) divided() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.part > partAlign
}
