package upload

import (
	"context"
	"errors"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// deferredPush is a push under a tag that comes after the call which asked for it. It is
// given up, or it is done.
type deferredPush struct {
	tag  string        // never changed
	stop chan struct{} // closed when it is given up, under Root.mu
	done chan struct{} // closed when it has ended, under Root.mu
}

// pending says whether the push is still to come; nil: there is none. Root.mu is held.
func (p *deferredPush) pending() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.stop:
		return false
	case <-p.done:
		return false
	default:
		return true
	}
}

// giveUp gives up a deferred push, and its record; nil: there is none. One that is under
// way goes on. mu is held.
func (r *Root) giveUp(p *deferredPush) {
	if p.pending() {
		r.area.records.drop(r.repo, p.tag, Pushing)
		close(p.stop)
	}
}

// deferPush makes a push that is done once it is due, or the mount ends. due is told how
// long nothing may have come. A failure is told where a person looks, as no program hears
// of it. The caller has entered the area, and holds mu.
func (r *Root) deferPush(tag, at string, due func(while time.Duration) bool, push func(context.Context) error) *deferredPush {
	a, while := r.area, r.area.deferFor
	p := &deferredPush{tag: tag, stop: make(chan struct{}), done: make(chan struct{})}
	r.deferred[p] = true
	a.work.Add(1)
	go func() {
		defer a.work.Done()
		defer r.endDeferred(p)
		err := a.catch(func() error {
			a.o.Tree.Deferring(r.repo, tag)
			if !a.poll(p.stop, func() bool { return due(while) }) {
				return nil
			}
			return push(a.ctx)
		})
		if errors.Is(err, errPanic) {
			a.record(r.repo, tag, err)
		}
		if err != nil {
			a.caught(func() { r.failed(at, err) })
		}
	}()
	return p
}

// endDeferred lets those go who wait for a deferred push.
func (r *Root) endDeferred(p *deferredPush) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.deferred, p)
	close(p.done)
}

// failed tells of a failure that no program hears of. at is its path below upload/.
func (r *Root) failed(at string, err error) {
	r.area.o.Tree.Failed(r.repo, at, err)
}

// Await waits until no push of a tag is deferred any more, or for awaitFor: the kernel holds
// other lookups of the tag behind the one that waits, and they can't be killed.
func (a *Area) Await(ctx context.Context, repo ref.Repository, tag string) error {
	enough := time.NewTimer(a.awaitFor)
	defer enough.Stop()
	for _, p := range a.deferred(repo, tag) {
		select {
		case <-p.done:
		case <-enough.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Deferred says whether a push of a tag is deferred: Await waits for it.
func (a *Area) Deferred(repo ref.Repository, tag string) bool {
	return len(a.deferred(repo, tag)) > 0
}

// deferred gives the deferred pushes of a tag.
func (a *Area) deferred(repo ref.Repository, tag string) (ps []*deferredPush) {
	root := a.root(repo)
	if root == nil {
		return nil
	}
	root.mu.Lock()
	defer root.mu.Unlock()
	for p := range root.deferred {
		if p.tag == tag {
			ps = append(ps, p)
		}
	}
	return ps
}
