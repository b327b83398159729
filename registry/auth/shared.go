package auth

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// shared does work once for all callers that want it while it is under way. Each caller
// waits as long as its own context lets it, and the work lives while any caller waits: the
// first one may leave without harm to the others. The zero value is ready.
type shared[K comparable, V any] struct {
	mu    sync.Mutex     // guards under, and waiters of all work; nothing else is locked under it
	under map[K]*work[V] // the work under way, by key
}

// work is one piece of work. value, err and panic are set before done is closed, and not
// changed afterwards.
type work[V any] struct {
	waiters int                // callers that wait; guarded by shared.mu
	cancel  context.CancelFunc // ends the work, as nobody waits
	done    chan struct{}      // closed once the work is done
	value   V
	err     error
	panic   any // what the work panicked with, and where; nil: it didn't
}

// do does the work that is known by a key, or waits for it where it is under way.
// The error is that of f, or of ctx.
func (s *shared[K, V]) do(ctx context.Context, key K, f func(context.Context) (V, error)) (V, error) {
	s.mu.Lock()
	w := s.under[key]
	if w == nil {
		if s.under == nil {
			s.under = map[K]*work[V]{}
		}
		its, cancel := context.WithCancel(context.WithoutCancel(ctx))
		w = &work[V]{cancel: cancel, done: make(chan struct{})}
		s.under[key] = w
		go func() {
			defer cancel()
			defer close(w.done)
			defer s.end(key, w)
			defer func() {
				if p := recover(); p != nil {
					w.panic = fmt.Sprintf("%v\n%s", p, debug.Stack())
				}
			}()
			w.value, w.err = f(its)
		}()
	}
	w.waiters++
	s.mu.Unlock()
	select {
	case <-w.done:
		if w.panic != nil {
			panic(w.panic) // as if each had done the work: whoever recovers it tells it
		}
		return w.value, w.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.waiters--; w.waiters == 0 {
		s.drop(key, w) // whoever comes now begins anew
		w.cancel()
	}
	var none V
	return none, ctx.Err()
}

// end lets the next who wants key begin anew.
func (s *shared[K, V]) end(key K, w *work[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(key, w)
}

// drop forgets work, unless it was forgotten already. Its caller holds mu.
func (s *shared[K, V]) drop(key K, w *work[V]) {
	if s.under[key] == w {
		delete(s.under, key)
	}
}
