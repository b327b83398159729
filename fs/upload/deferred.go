package upload

import (
	"context"
	"errors"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// deferredPush is a push under a tag that happens after the call that asked for it. It ends
// when it is done or given up.
type deferredPush struct {
	tag string // never changed
	// told is closed when the mount knows that the push is deferred, so that lookups of the tag
	// wait for it.
	told chan struct{}
	// stop is closed, under Root.mu, when the push is given up.
	stop chan struct{}
	// done is closed, under Root.mu, when the push has ended.
	done chan struct{}
}

// pending says that the push is still to come. A nil push isn't. Root.mu is held.
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

// giveUp gives up a deferred push and drops its record. A nil push is ignored. A push that is
// already under way goes on. mu is held.
func (r *Root) giveUp(p *deferredPush) {
	if p.pending() {
		r.area.records.drop(r.repo, p.tag, Pushing)
		close(p.stop)
	}
}

// deferPush starts a goroutine that calls push once due says so, or the mount ends. due gets
// how long nothing must have come. A failure is reported to a person, because no program
// waits for the push. The caller has entered the area, and holds mu. Without mu it then waits
// for told before its program goes on: the kernel may believe that the tag doesn't exist, and the
// program may look it up at once.
func (r *Root) deferPush(tag, at string, due func(while time.Duration) bool, push func(context.Context) error) *deferredPush {
	a, while := r.area, r.area.deferFor
	p := &deferredPush{tag: tag, told: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{})}
	r.deferred[p] = true
	a.work.Add(1)
	go func() {
		defer a.work.Done()
		defer r.endDeferred(p)
		err := a.catch(func() error {
			p.tell(a.o.Tree, r.repo)
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

// tell tells the mount that the push is deferred.
func (p *deferredPush) tell(mount Tree, repo ref.Repository) {
	defer close(p.told)
	mount.Deferring(repo, p.tag)
}

// endDeferred wakes those who wait for a deferred push.
func (r *Root) endDeferred(p *deferredPush) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.deferred, p)
	close(p.done)
}

// failed reports a failure that no program waits for. at is its path below upload/.
func (r *Root) failed(at string, err error) {
	r.area.o.Tree.Failed(r.repo, at, err)
}

// Await waits until no push of a tag is deferred any more, but at most for awaitFor. While
// one lookup of a tag waits, the kernel makes other lookups of it wait too, and nothing can
// kill those.
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

// Deferred says whether a push of a tag is deferred, so that Await waits.
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
