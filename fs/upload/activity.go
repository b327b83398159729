package upload

import (
	"sync"
	"time"
)

// Durations of waiting for more to come. A program that writes an image makes a call every
// few milliseconds, while a person waits for seconds.
const (
	// deferFor is how long nothing must come before a deferred push is due.
	deferFor = time.Second
	// deferPieceFor is deferFor for an entry that has a platform but no name, while its
	// program lives. oras lists the children of an index in that way before the index,
	// and waits for its source in between.
	deferPieceFor = time.Minute
	// attendAfter is how long nothing must come before missing pieces are reported to a
	// person.
	attendAfter = 5 * time.Second
	// awaitFor is how long a lookup of a tag waits for its deferred push.
	awaitFor = 5 * time.Second
	// checkFor is how long the registry may take to say whether it has manifests that no
	// index names. The end of a mount waits for that.
	checkFor = 5 * time.Second
	// lookEach is how often a wait checks whether it is over.
	lookEach = 20 * time.Millisecond
)

// activity says when something last happened in a directory, and which program did it.
type activity struct {
	now func() time.Time // Options.Now

	mu   sync.Mutex // guards all below; no other lock is taken under it
	last time.Time  // when something last happened; zero: never
	by   Program    // the program that acted last; nil: not known
	// calls counts the calls of programs that are under way. A call may push for a long
	// time.
	calls int
}

// note notes activity of an unknown program. It counts as the program that acted before.
func (a *activity) note() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = a.now()
}

// noteBy notes activity of a program. A nil program is unknown, and counts as the one that
// acted before.
func (a *activity) noteBy(by Program) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = a.now()
	if by != nil {
		a.by = by
	}
}

// begin notes that a call of a program begins. The call lasts until end is called.
func (a *activity) begin() (end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	return a.end
}

// end notes that a call of a program ends.
func (a *activity) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls--
	a.last = a.now()
}

// quiet says that no call is under way, and that nothing happened for the duration while.
func (a *activity) quiet(while time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls == 0 && a.now().Sub(a.last) >= while
}

// over says that the directory is quiet, or that the program that acted last has ended.
func (a *activity) over(while time.Duration) bool {
	if a.quiet(while) {
		return true
	}
	by := a.idleBy()
	return by != nil && by.Ended()
}

// idleBy gives the program that acted last; nil: it isn't known, or a call is under way.
func (a *activity) idleBy() Program {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls > 0 {
		return nil
	}
	return a.by
}

// busy notes that a call is under way in a directory, until end is called. A push may take
// minutes in which its program makes no other call. The directory isn't quiet meanwhile.
func (r *Root) busy(d *Dir) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.layoutDir().layout.activity.begin()
}

// dirOf gives the directory of a file; nil: it has no name any more.
func (r *Root) dirOf(f *File) *Dir {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f.parent
}

// poll waits until over returns true or the mount ends, and gives true. If stop is closed
// first, it gives false.
func (a *Area) poll(stop <-chan struct{}, over func() bool) bool {
	pace := time.NewTicker(a.pace)
	defer pace.Stop()
	for {
		select {
		case <-stop:
			return false
		default:
		}
		if over() {
			return true
		}
		select {
		case <-stop:
			return false
		case <-a.open.Done():
			return true
		case <-pace.C:
		}
	}
}
