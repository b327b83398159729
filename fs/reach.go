package fs

import (
	"context"
	"fmt"
	"time"
)

// shownFor is how long what couldn't be asked for anew is shown before it is asked
// for again.
const shownFor = missingFor

// belief is how far an answer of a registry is believed.
type belief struct {
	told    time.Time // when it was given; zero: never
	expires time.Time
	old     bool // its time is over, and it is shown for want of another
}

// believe is of an answer that came now.
func believe(ttl time.Duration) belief {
	now := time.Now()
	return belief{told: now, expires: now.Add(ttl)}
}

func (b belief) believed() bool { return time.Now().Before(b.expires) }

// showOn has an old answer shown for a moment more, as its registry is out of reach.
// It says whether that is to be told: those who asked at the same time tell it once.
func (b *belief) showOn() (tell bool) {
	if b.believed() {
		return false
	}
	b.expires, b.old = time.Now().Add(shownFor), true
	return true
}

// showing tells that what was known is shown, and why.
func (p place) showing(ctx context.Context, op, what string, told time.Time, err error) {
	p.tell(ctx, op, "nothing to do: what was known is shown until the registry can be reached",
		fmt.Errorf("showing %s as it was %s ago: %w", what, time.Since(told).Round(time.Second), err))
}
