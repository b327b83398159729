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
// A moment is short where much comes, because haste pays most there. It is longer where little comes,
// because little comes unevenly. The first moment begins with the first byte: a registry that must get the blob
// from elsewhere isn't faster when it is asked several times. A moment in which nothing comes
// doesn't count: a far registry sends in bursts in the beginning.
//
// Parts are large in the beginning, as each costs a request. They are small in the end, so that no
// fetch is waited for alone, and the hash has little left to do.
//
// The first fetch goes on with a part of its own, and then is cut off. The bytes that stand in the
// buffers of the sockets at that moment come twice: 3 to 5 MB in the benchmark's row cdn. A fetch
// that is cut off at once loses as many.
//
// The numbers are choices, tried against fake lines (parts_test.go of package cache) and with the
// row cdn; none is of a specification.
const (
	partsFrom = 64 << 20               // bytes that are to come, for parts to be worth their requests
	enough    = 64 << 20               // bytes a second that one connection brings where no help is needed
	mostly    = 0.75                   // of a moment that a fetch waits for bytes, where the line is what is slow
	aWhile    = 500 * time.Millisecond // a rest that comes within it is left without help

	// A moment is the time over which rates are measured. It is over when momentBytes came in at
	// least leastMoment, or after mostMoment.
	leastMoment = 50 * time.Millisecond
	momentBytes = 1 << 20
	mostMoment  = 250 * time.Millisecond
	glance      = 25 * time.Millisecond // the interval at which a moment is looked at for its end

	growth    = 4        // times as many connections are tried, for
	paysOff   = 1.5      // times as many bytes a second at least
	leastPart = 4 << 20  // bytes of a part
	mostPart  = 32 << 20 // bytes of a part
	partAlign = 1 << 20  // so that no block of the disk has bytes of two parts
)

// help has others bring parts, until ctx ends, and waits for them.
func (a *Attempt) help(ctx context.Context, most int) {
	if a.in.blob.Part == nil || most < 2 || !a.large() {
		return
	}
	select {
	case <-a.began:
	case <-ctx.Done():
		return
	}
	var (
		helpers sync.WaitGroup
		under   atomic.Int32
		refused atomic.Bool
	)
	defer helpers.Wait()
	var (
		last   = a.figures()
		slow   = 0     // moments on end in which the line was slow
		number = 1     // fetches that are wanted at once, the first one counted
		before = 0.    // bytes a second, when number was changed
		fresh  = false // number was changed before the moment, so that some of it went into connections
	)
	for {
		m, ok := a.moment(ctx, &last)
		if !ok || refused.Load() {
			return
		}
		if slow++; m.all >= enough*float64(number) || m.waited < mostly {
			slow = 0
		}
		soon := a.soon(m.rate)
		switch {
		case fresh:
			fresh = false
		case slow > 1 && number < most && m.rate >= before*paysOff && !soon:
			before, number, fresh = m.rate, min(most, number*growth), true
			a.divide(most)
		}
		for range number - 1 - int(under.Load()) {
			if soon {
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

// rates are those of one moment.
type rates struct {
	rate, all float64 // bytes a second, of the blob, and of all blobs
	waited    float64 // how much of their time the fetches waited for bytes; 1 is all of it
}

// moment waits for the end of a moment in which something came, and gives its rates. last are the
// figures at the moment's beginning, and become those at its end. ok is false if ctx ended first.
func (a *Attempt) moment(ctx context.Context, last *figures) (r rates, ok bool) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return rates{}, false
		case <-tick.C:
		}
		now := a.figures()
		took, came := now.at.Sub(last.at), now.came-last.came
		if took < leastMoment || came < momentBytes && took < mostMoment {
			continue
		}
		r = rates{
			float64(came) / took.Seconds(), float64(now.all-last.all) / took.Seconds(),
			float64(now.waiting-last.waiting) / float64(max(1, now.open-last.open)),
		}
		*last = now
		if came > 0 {
			return r, true
		}
	}
}

// figures are counts since the beginning.
type figures struct {
	at        time.Time // when they were taken
	came, all int64     // bytes of the blob, and of all blobs
	times
}

func (a *Attempt) figures() figures {
	return figures{time.Now(), a.in.done.Load(), a.in.o.Arrived.Load(), a.meter.times()}
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
	if a.number > 0 {
		return // long ago
	}
	a.number = int64(most)
	for c := range a.claims {
		a.extend(c, math.MaxInt64)
	}
}

// part is how many bytes are claimed at once. mu is held.
func (a *Attempt) part() int64 {
	if a.number == 0 {
		return partAlign // others can begin right behind
	}
	return min(max(a.gaps.len()/(2*a.number), leastPart), mostPart)
}

// bringParts brings parts until there are none left. An error is nobody's but its own:
// what it didn't bring others do.
func (a *Attempt) bringParts(ctx context.Context) error {
	for {
		c, _ := a.take()
		if c == nil {
			return nil
		}
		if err := a.bring(ctx, c, a.in.blob.Part, c.asked.len(), c.asked.to); err != nil {
			return err
		}
	}
}

// divided says whether some of it came in parts.
func (a *Attempt) divided() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.number > 0
}
