package network

import (
	"math/rand/v2"
	"time"
)

// Kind is something that happens to a connection.
type Kind string

// What happens to connections.
const (
	Delay    Kind = "delay"    // the next bytes come later
	Throttle Kind = "throttle" // the next bytes come slowly
	Stall    Kind = "stall"    // nothing comes for long, or until it is calm
	Cut      Kind = "cut"      // it ends in the middle, as if all had been said (FIN)
	Reset    Kind = "reset"    // it breaks (RST)
	Refuse   Kind = "refuse"   // it breaks as soon as it is made
	Down     Kind = "down"     // the whole network went down
)

// Weather says what happens at random.
type Weather struct {
	// Kinds are drawn from with equal chances; a kind that is in it twice comes
	// twice as often.
	Kinds []Kind
	// Every is how many bytes of a connection's one direction go well between two
	// faults, on the average.
	Every int64
	// Delay and Stall are the longest pauses of their kinds.
	Delay, Stall time.Duration
	// Forever is the share of stalls that last until it is calm, from 0 to 1.
	Forever float64
	// Rate is the speed of what is throttled, in bytes a second, and Slow how many
	// bytes it is throttled for.
	Rate, Slow int64
}

// Storm is a weather in which most things go wrong now and then, and none always.
var Storm = Weather{
	Kinds: []Kind{Delay, Delay, Throttle, Stall, Cut, Reset, Reset, Refuse},
	Every: 400_000,
	Delay: 300 * time.Millisecond, Stall: 3 * time.Second, Forever: 0.1,
	Rate: 200_000, Slow: 100_000,
}

// fate is what one direction of one connection meets, drawn as it comes.
type fate struct {
	random *rand.Rand
	left   int64 // bytes before the next fault
}

// newFate gives the fate of the direction (0 or 1) of the n-th connection.
func newFate(seed, n uint64, direction int) *fate {
	return &fate{random: rand.New(rand.NewPCG(seed, n<<1|uint64(direction))), left: -1}
}

// calm gives how many bytes may still go well.
func (f *fate) calm(w *Weather) int64 {
	if f.left < 0 {
		f.left = 1 + int64(f.random.ExpFloat64()*float64(w.Every))
	}
	return f.left
}

// next draws the fault that the bytes led to.
func (f *fate) next(w *Weather) Kind {
	f.left = -1
	return w.Kinds[f.random.IntN(len(w.Kinds))]
}

// pause draws how long a fault lasts.
func (f *fate) pause(longest time.Duration) time.Duration {
	return time.Duration(f.random.Float64() * float64(longest))
}
