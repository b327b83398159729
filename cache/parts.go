package cache

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// The first fetch of a blob is for all of it. Others come to its help, each for a part,
// where one connection turns out to be what holds a large blob up: when less than enough
// came in a whole moment, and it will take a while yet. There are more of them for as
// long as more of them bring more. So a registry that is near is asked once, and one that
// is far as often as that pays.
const (
	partsFrom = 64 << 20               // bytes that are to come
	enough    = 64 << 20               // bytes a second
	aWhile    = time.Second            //
	moment    = 250 * time.Millisecond //
	growth    = 4                      // times as many connections, for
	paysOff   = 1.25                   // times as many bytes
	leastPart = 4 << 20                // bytes
	mostPart  = 32 << 20
	partAlign = 1 << 20 // so that no block of the disk has bytes of two parts
)

// ErrNoPlace is what Want.Part gives where no connection is free. It is asked for again.
var ErrNoPlace = errors.New("no connection is free")

// help has others bring parts, until ctx ends, and waits for them.
func (in *intake) help(ctx context.Context, most int) {
	if in.dl.want.Part == nil || most < 2 || !in.large() {
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
		last   = in.dl.done.Load()
		whole  = false // the moment that is over was whole
		before = 0.    // bytes a second, when their number was changed
		number = 1
	)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		done := in.dl.done.Load()
		rate := float64(done-last) / moment.Seconds()
		last = done
		switch {
		case refused.Load():
			return
		case rate == 0 || !whole:
			whole = rate > 0
			continue
		case in.soon(rate):
		case number < most && rate < enough && rate >= before*paysOff:
			before, number, whole = rate, min(most, number*growth), false
			in.divide(most)
		}
		for range number - 1 - int(under.Load()) {
			if in.soon(rate) {
				break
			}
			under.Add(1)
			helpers.Go(func() {
				defer under.Add(-1)
				if err := in.bringParts(ctx); err != nil && !errors.Is(err, ErrNoPlace) {
					refused.Store(true)
					in.s.log.Debug("a blob isn't had in parts", "digest", in.dl.want.Digest, "cause", err)
				}
			})
		}
	}
}

func (in *intake) large() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.size >= 0 && in.left() >= partsFrom
}

// soon says whether the rest comes within a while anyway.
func (in *intake) soon(rate float64) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return float64(in.left()) < rate*aWhile.Seconds()
}

// divide has parts be claimed from now on, and leaves one to the fetch that is under
// way.
func (in *intake) divide(most int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.part > partAlign {
		return // long ago
	}
	in.part = min(max(in.left()/int64(2*most), leastPart), mostPart)
	for c := range in.claims {
		in.extend(c, math.MaxInt64)
	}
}

// bringParts brings parts until there are none left. An error is nobody's but its own:
// what it didn't bring others do.
func (in *intake) bringParts(ctx context.Context) error {
	for {
		c, _ := in.take()
		if c == nil {
			return nil
		}
		if err := in.bring(ctx, c, in.dl.want.Part, c.len(), c.to); err != nil {
			return err
		}
	}
}

// divided says whether some of it came in parts.
func (in *intake) divided() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.part > partAlign
}
