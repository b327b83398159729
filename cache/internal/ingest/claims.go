package ingest

import "math"

// claim is bytes that one fetch is to bring. Attempt.mu guards what changes of it.
type claim struct {
	span          // bytes that it hasn't brought yet
	asked    span // the bytes that were claimed in the beginning; it doesn't change
	answered bool // the fetch's body is open, so that no other fetch takes the claim over
}

// take claims the first gap, or as much of it as is claimed at once. Where there is no
// gap, others says whether there are those who bring something.
func (a *Attempt) take() (c *claim, others bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.gaps) == 0 {
		return nil, len(a.claims) > 0
	}
	c = &claim{span: span{a.gaps[0].from, a.gaps[0].from}}
	a.claims[c] = true
	a.extend(c, a.gaps[0].to)
	c.asked = c.span
	return c, true
}

// extend has a claim go on into the gap behind it, if there is one, but not beyond end.
// mu is held.
func (a *Attempt) extend(c *claim, end int64) {
	part := a.part()
	for _, g := range a.gaps {
		if g.from == c.to {
			if end = min(end, g.to); end-g.from > part {
				end = min(end, (g.from+part+partAlign-1)/partAlign*partAlign)
			}
			c.to = end
			a.gaps = a.gaps.without(span{g.from, end})
			return
		}
	}
}

// answer notes that a claim's body is open. It says whether the claim still has bytes: another fetch
// may have taken it over.
func (a *Attempt) answer(c *claim) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.answered = true
	return c.len() > 0
}

// takeOver has a claim go on into the one behind it, if the fetch of that one isn't answered yet,
// but not beyond end. So a fetch is cut off by parts that come, and not by those that may be
// refused, or that wait until a busy registry has time for them. mu is held.
func (a *Attempt) takeOver(c *claim, end int64) {
	for o := range a.claims {
		if o.from == c.to && o.len() > 0 && o.to <= end && !o.answered {
			c.to, o.from = o.to, o.to
			return
		}
	}
}

// reach is up to where a claim's fetch asks: to the claim's end, where others bring what
// follows, and else to what is there. whole says that it is the blob's end.
func (a *Attempt) reach(c *claim) (end int64, whole bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	end = c.to
	for _, g := range a.gaps {
		if g.from == end && len(a.claims) == 1 {
			end = g.to
		}
	}
	return end, a.size < 0 || end == a.size
}

// room is how much may be read for a claim, and whether it ends where the blob does.
func (a *Attempt) room(c *claim, end int64) (n int64, last bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.len() == 0 && c.to < end {
		a.extend(c, end)
	}
	if c.len() == 0 && c.to < end {
		a.takeOver(c, end)
	}
	return c.len(), c.to == a.size
}

// came notes that n bytes of a claim are in the file. If they aren't hashed, or others stand behind
// them, the follower is woken.
func (a *Attempt) came(c *claim, n int, hashed bool) {
	a.in.done.Add(int64(n))
	a.in.o.Arrived.Add(int64(n))
	a.first()
	a.mu.Lock()
	defer a.mu.Unlock()
	c.from += int64(n)
	a.in.changed.tell()
	if front := a.front(); !hashed || front > c.from || front == a.size {
		a.hash.behind.tell()
	}
}

// ends says whether a claim's body may end now. Where the size isn't known, it is now.
func (a *Attempt) ends(c *claim) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.size < 0 {
		a.size, a.gaps, c.to = c.from, nil, c.from
		a.in.changed.tell()
		a.hash.behind.tell()
	}
	return c.len() == 0
}

// release gives back what wasn't brought.
func (a *Attempt) release(c *claim) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.claims, c)
	a.gaps = a.gaps.with(c.span)
	a.in.changed.tell()
}

// front is up to where everything has come. mu is held.
func (a *Attempt) front() int64 {
	front := a.size
	if front < 0 {
		front = math.MaxInt64
	}
	if len(a.gaps) > 0 {
		front = a.gaps[0].from
	}
	for c := range a.claims {
		if c.len() > 0 {
			front = min(front, c.from)
		}
	}
	return front
}

// left is how much is to come; mu is held.
func (a *Attempt) left() int64 {
	n := a.gaps.len()
	for c := range a.claims {
		n += c.len()
	}
	return n
}
