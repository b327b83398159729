package main

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ocifs/ocifs/integration/internal/network"
)

// step is something that happens, at a time since the beginning.
type step struct {
	at    time.Duration
	do    string
	pause time.Duration // how long the network or the daemon is away
	pick  int           // chooses among what there is then
}

// plan is all that happens. Each list is in the order of time, and happens beside the
// others.
type plan struct{ weather, daemon, tags []step }

// What may happen, beside the names of weathers.
const (
	down = "down" // the network, for a while
	kill = "kill" // the daemon, which is mounted again after a while
	hurt = "hurt" // kill, and meanwhile something in the cache is damaged
	term = "term" // the daemon is told to end, and another is mounted beside it
	move = "move" // a tag
)

// weathers by name.
var weathers = map[string]network.Weather{
	"storm": network.Storm,
	"gale": {
		Kinds: []network.Kind{network.Cut, network.Reset, network.Refuse, network.Delay},
		Every: 150_000, Delay: 200 * time.Millisecond,
	},
	"breeze": {
		Kinds: []network.Kind{network.Delay, network.Throttle, network.Stall},
		Every: 600_000, Delay: time.Second, Stall: 8 * time.Second, Rate: 400_000, Slow: 200_000,
	},
	"calm": {},
}

// newPlan plans so long a time. Its last quarter belongs to one daemon, so that it has
// something behind it when it is looked at what it holds.
func newPlan(seed uint64, lasts time.Duration) (p plan) {
	r := rand.New(rand.NewPCG(seed, 1))
	between := func(least, most time.Duration) time.Duration {
		return least + time.Duration(r.Int64N(int64(most-least)))
	}
	names := append(slices.Sorted(maps.Keys(weathers)), "storm", "storm", down)
	for at := time.Duration(0); at < lasts; {
		s := step{at: at, do: names[r.IntN(len(names))]}
		if at == 0 {
			s.do = "storm"
		}
		if at += between(4*time.Second, 15*time.Second); s.do == down {
			s.pause = between(time.Second, 4*time.Second)
		}
		p.weather = append(p.weather, s)
	}
	for at := between(3*time.Second, 15*time.Second); at < lasts*3/4; at += between(8*time.Second, 25*time.Second) {
		p.daemon = append(p.daemon, step{at, []string{kill, hurt, term}[r.IntN(3)], between(0, 3*time.Second), r.Int()})
	}
	for at := time.Duration(0); at < lasts; at += between(500*time.Millisecond, 3*time.Second) {
		p.tags = append(p.tags, step{at: at, do: move, pick: r.Int()})
	}
	return p
}
