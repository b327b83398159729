package upload

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

const (
	// followAfter is how long nothing may come for a tag to follow that the program which
	// asked for it doesn't wait for.
	followAfter = time.Second
	// attendAfter is how long nothing may come for a person to be told what is missing.
	attendAfter = 5 * time.Second
	// lookEach is how often it is looked whether something is due.
	lookEach = 20 * time.Millisecond
)

// activity is when something last happened in a directory, and which program did it.
type activity struct {
	mu    sync.Mutex // guards all below; the last one in the lock order
	last  time.Time
	by    Program // the program that did something last; nil: not known
	calls int     // calls of programs that are under way here, and may push for long
}

// note notes that something happens. by is the program, or nil where it is the one
// before.
func (a *activity) note(by Program) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = time.Now()
	if by != nil {
		a.by = by
	}
}

// begin notes that a call of a program begins, which lasts until end is called.
func (a *activity) begin() (end func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.calls--
		a.last = time.Now()
	}
}

// quiet says whether nothing happened for some time.
func (a *activity) quiet(while time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls == 0 && time.Since(a.last) >= while
}

// over says whether the program that did something last has ended, or nothing
// happened for a while.
func (a *activity) over(while time.Duration) bool {
	a.mu.Lock()
	by, calls := a.by, a.calls
	a.mu.Unlock()
	return a.quiet(while) || calls == 0 && by != nil && by.Ended()
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

// follow is a push under a tag that comes after the call that asked for it. It is given
// up, or it ends with done.
type follow struct {
	tag  string
	stop chan struct{} // closed when it is given up; guarded by Root.mu
	done chan struct{} // closed when it has ended
}

// pending says whether the push is still to come. Root.mu is held.
func (f *follow) pending() bool {
	if f == nil {
		return false
	}
	select {
	case <-f.stop:
		return false
	case <-f.done:
		return false
	default:
		return true
	}
}

// giveUp gives up a push that is to follow, and its record; nil: there is none. One that
// is under way goes on. mu is held.
func (r *Root) giveUp(f *follow) {
	if f.pending() {
		r.area.records.forget(r.repo, f.tag, Pushing)
		close(f.stop)
	}
}

// follow has a push under a tag done once it is due, or the mount ends. Its failure
// is told where a person looks, as no program hears of it. The caller has entered the
// area, and holds Root.mu.
func (r *Root) follow(tag string, due func(while time.Duration) bool, push func(context.Context) error) *follow {
	a, after := r.area, r.area.followAfter
	f := &follow{tag: tag, stop: make(chan struct{}), done: make(chan struct{})}
	r.follows[f] = true
	a.work.Add(1)
	go func() {
		defer a.work.Done()
		defer r.followed(f)
		a.o.Tree.Following(r.repo, tag)
		if !a.await(f.stop, func() bool { return due(after) }) {
			return
		}
		if err := r.guarded(push); err != nil {
			r.failed(tag, err)
		}
	}()
	return f
}

// followed ends a follow.
func (r *Root) followed(f *follow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.follows, f)
	close(f.done)
}

// await waits until something is so, or the mount ends; false: until stop was closed.
func (a *Area) await(stop <-chan struct{}, so func() bool) bool {
	pace := time.NewTicker(a.pace)
	defer pace.Stop()
	for {
		select {
		case <-stop:
			return false
		default:
		}
		if so() {
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

// guarded calls what pushes, and makes an error of a panic: no handler of the kernel's
// requests does that here.
func (r *Root) guarded(push func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.area.log.Error("panic", "cause", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return push(r.area.ctx)
}

// failed tells of a failure that no program hears of.
func (r *Root) failed(name string, err error) {
	r.area.o.Tree.Failed(r.repo, name, err)
}

// Await waits until a tag that is to follow has been pushed, or wasn't. At once where
// there is none.
func (a *Area) Await(ctx context.Context, repo ref.Repository, tag string) error {
	a.mu.Lock()
	root := a.roots[repo]
	a.mu.Unlock()
	if root == nil {
		return nil
	}
	for _, f := range root.followsOf(tag) {
		select {
		case <-f.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (r *Root) followsOf(tag string) (fs []*follow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for f := range r.follows {
		if f.tag == tag {
			fs = append(fs, f)
		}
	}
	return fs
}
