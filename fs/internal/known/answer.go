package known

import "time"

const (
	// shownFor is how long an old answer is shown before the registry is asked once more.
	shownFor = 5 * time.Second
	// clockStep is how far in the future an answer may be given before it counts as one of a
	// clock that was set back.
	clockStep = time.Second
)

// Answer is what a registry said of one thing: since when that is known, and until when it is
// believed. The zero value is the answer to what was never asked.
type Answer struct {
	Since  time.Time // when the registry said so; zero: never
	Until  time.Time // the end of the belief
	Denied time.Time // when the registry denied the thing; zero: it has it
	// Old says that the time is over, and that the answer is shown for want of another: its
	// registry is out of reach.
	Old bool
}

// now gives the time by the mount's clock.
func (rs *Registries) now() time.Time { return rs.o.Now() }

// answered is an answer that came now, and is believed for ttl.
func (rs *Registries) answered(ttl time.Duration) Answer {
	now := rs.now()
	return Answer{Since: now, Until: now.Add(ttl)}
}

// denied is an answer of now that there is no such thing, and is believed for missingFor.
func (rs *Registries) denied() Answer {
	a := rs.answered(missingFor)
	a.Denied = a.Since
	return a
}

// Known says whether the registry ever said that it has the thing, and didn't deny it since.
func (a Answer) Known() bool { return !a.Since.IsZero() && a.Denied.IsZero() }

// Believed says whether an answer needn't be asked for anew. A clock that was set back
// doesn't make an old answer new.
func (a Answer) Believed(now time.Time) bool {
	return now.Before(a.Until) && !a.Since.After(now.Add(clockStep))
}

// showOn has an old answer shown for a moment more. tell says that a person is to be told:
// those who asked at the same time tell it once.
func (a *Answer) showOn(now time.Time) (tell bool) {
	if a.Believed(now) {
		return false
	}
	a.Until, a.Old = now.Add(shownFor), true
	return true
}
