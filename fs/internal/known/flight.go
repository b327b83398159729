package known

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
)

// flight does work once for all callers that want it at the same time. The work lives as long as
// anybody waits for it: an interrupted caller leaves at once, and the work is cancelled when the
// last one has left. It is safe for concurrent use.
type flight[K comparable, V any] struct {
	// panicked is called with a panic in the work and its stack; nil: no call.
	panicked func(cause any, stack []byte)

	mu    sync.Mutex     // guards calls, and the waiters of each call
	calls map[K]*call[V] // the work under way, by key
}

// call is work under way.
type call[V any] struct {
	cancel  context.CancelFunc
	waiters int           // callers that wait; guarded by flight.mu
	done    chan struct{} // closed when value and err are set
	value   V
	err     error
}

// do gives the result of the work for key. It joins the work under way, or starts it. The wait
// ends with ctx.
func (f *flight[K, V]) do(ctx context.Context, key K, work func(context.Context) (V, error)) (V, error) {
	var none V
	if err := ctx.Err(); err != nil {
		return none, err
	}
	f.mu.Lock()
	c, ok := f.calls[key]
	if !ok {
		// The work may outlive the caller that asked first, so it isn't under that
		// caller's context. It ends when it is done, or when nobody waits any more.
		wctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c = &call[V]{cancel: cancel, done: make(chan struct{})}
		if f.calls == nil {
			f.calls = map[K]*call[V]{}
		}
		f.calls[key] = c
		go func() {
			defer cancel()
			defer close(c.done)
			c.err = catch(f.panicked, func() (err error) {
				c.value, err = work(wctx)
				return err
			})
			f.mu.Lock()
			defer f.mu.Unlock()
			f.leave(key, c)
		}()
	}
	c.waiters++
	f.mu.Unlock()

	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		if c.waiters--; c.waiters == 0 {
			f.leave(key, c)
			c.cancel()
		}
		return none, ctx.Err()
	}
}

// catch calls a function, and returns its panic as an error. So a bug fails those who wait, and
// not the mount. panicked is called with the panic and its stack; nil: no call.
func catch(panicked func(cause any, stack []byte), do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			if panicked != nil {
				panicked(p, debug.Stack())
			}
		}
	}()
	return do()
}

// leave makes the next caller for key start new work. mu is held.
func (f *flight[K, V]) leave(key K, c *call[V]) {
	if f.calls[key] == c {
		delete(f.calls, key)
	}
}
