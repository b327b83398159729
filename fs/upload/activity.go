package upload

import (
	"sync"
	"time"
)

// Constants of how long nothing may come. Programs that write an image make a call every
// few milliseconds; a person waits for seconds.
const (
	// deferFor is how long nothing comes before a deferred push is due.
	deferFor = time.Second
	// deferPieceFor is deferFor for an entry without a name that has a platform, while its
	// program lives: oras lists the children of an index so on its way to it, and waits for
	// its source between them.
	deferPieceFor = time.Minute
	// attendAfter is how long nothing comes before a person is told what is missing.
	attendAfter = 5 * time.Second
	// awaitFor is how long a lookup of a tag waits for its deferred push.
	awaitFor = 5 * time.Second
	// checkFor is how long the registry has to say whether it has manifests that no index
	// names: the end of a mount waits for it.
	checkFor = 5 * time.Second
	// lookEach is how often a wait looks whether it is over.
	lookEach = 20 * time.Millisecond
)

// activity is when something last happened in a directory, and which program did it.
type activity struct {
	now func() time.Time // Options.Now

	mu    sync.Mutex // guards all below; no other lock is taken under it
	last  time.Time  // when something last happened; zero: nothing did
	by    Program    // the program that did something last; nil: not known
	calls int        // counts the calls of programs that are under way here, and may push for long
}

// note notes that something happens, by the program that did something before.
func (a *activity) note() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = a.now()
}

// noteBy notes that a program does something. A program that isn't known (nil) is taken for
// the one that did something before.
func (a *activity) noteBy(by Program) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = a.now()
	if by != nil {
		a.by = by
	}
}

// begin notes that a call of a program begins, which lasts until end is called.
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

// quiet says whether nothing happened for some time.
func (a *activity) quiet(while time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls == 0 && a.now().Sub(a.last) >= while
}

// over says whether the program that did something last has ended, or nothing
// happened for some time.
func (a *activity) over(while time.Duration) bool {
	if a.quiet(while) {
		return true
	}
	by := a.idleBy()
	return by != nil && by.Ended()
}

// idleBy gives the program that did something last; nil: it isn't known, or a call is under
// way.
func (a *activity) idleBy() Program {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.calls > 0 {
		return nil
	}
	return a.by
}

// busy notes that a call is under way in a directory until end is called. A push may take
// minutes without another call of its program: nothing is quiet meanwhile.
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

// poll waits until over says yes or the mount ends. False: stop was closed before.
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
