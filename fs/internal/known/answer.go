package known

import "time"

const (
	// shownFor is how long an old answer is shown before the registry is asked again.
	shownFor = 5 * time.Second
	// clockStep is how far in the future an answer may have come. An answer from later counts
	// as one from before the clock was set back.
	clockStep = time.Second
)

// Answer says since when the answer of a registry is known, and until when it is believed. The
// zero value means that the registry was never asked.
type Answer struct {
	Since  time.Time // when the registry answered; zero: never
	Until  time.Time // the end of the belief
	Denied time.Time // when the registry denied it; zero: the registry has it
	// Old says that the answer has expired, and is shown because the registry is out of
	// reach.
	Old bool
}

// now gives the time by the mount's clock.
func (rs *Registries) now() time.Time { return rs.o.Now() }

// answered makes an answer that came now, and is believed for ttl.
func (rs *Registries) answered(ttl time.Duration) Answer {
	now := rs.now()
	return Answer{Since: now, Until: now.Add(ttl)}
}

// denied makes a denial that came now, and is believed for missingFor.
func (rs *Registries) denied() Answer {
	a := rs.answered(missingFor)
	a.Denied = a.Since
	return a
}

// Known says whether the registry's last answer is that it has the thing.
func (a Answer) Known() bool { return !a.Since.IsZero() && a.Denied.IsZero() }

// Believed says whether the answer hasn't expired at the time now. A clock that was set back
// doesn't make an old answer new.
func (a Answer) Believed(now time.Time) bool {
	return now.Before(a.Until) && !a.Since.After(now.Add(clockStep))
}

// showOn extends an expired answer by shownFor, and marks it as old. tell says that a person must
// be told; it is true for only one of several concurrent callers.
func (a *Answer) showOn(now time.Time) (tell bool) {
	if a.Believed(now) {
		return false
	}
	a.Until, a.Old = now.Add(shownFor), true
	return true
}
