package registry

import (
	"context"
	"sync"
)

// limiters bound the concurrent transfers to each host. They are safe for concurrent use.
type limiters struct {
	max int // transfers at once to one host

	mu     sync.Mutex
	byHost map[string]*limiter // of the hosts that a transfer goes to, or waits for; guarded by mu
}

// limiter bounds the concurrent transfers to one host.
type limiter struct {
	transfers chan struct{} // holds an element for each transfer under way
	users     int           // transfers under way and waiting: with none the limiter is dropped; guarded by limiters.mu
	waiting   int           // transfers that wait; guarded by limiters.mu
	wanted    chan struct{} // closed while one waits; guarded by limiters.mu
}

func newLimiters(n int) *limiters { return &limiters{max: n, byHost: map[string]*limiter{}} }

// use gives the limiter of a host, which has one user more. mu is held.
func (ls *limiters) use(host string) *limiter {
	l := ls.byHost[host]
	if l == nil {
		l = &limiter{transfers: make(chan struct{}, ls.max), wanted: make(chan struct{})}
		ls.byHost[host] = l
	}
	l.users++
	return l
}

// leave ends what use began. mu is held.
func (ls *limiters) leave(host string, l *limiter) {
	if l.users--; l.users == 0 {
		delete(ls.byHost, host)
	}
}

// release gives the function that ends a transfer. It may be called several times.
func (ls *limiters) release(host string, l *limiter) func() {
	return sync.OnceFunc(func() {
		<-l.transfers
		ls.mu.Lock()
		defer ls.mu.Unlock()
		ls.leave(host, l)
	})
}

// take waits until a transfer to a host may begin.
func (ls *limiters) take(ctx context.Context, host string) (release func(), err error) {
	ls.mu.Lock()
	l := ls.use(host)
	select {
	case l.transfers <- struct{}{}:
		ls.mu.Unlock()
		return ls.release(host, l), nil
	default:
	}
	if l.waiting++; l.waiting == 1 {
		close(l.wanted)
	}
	ls.mu.Unlock()
	defer func() {
		ls.mu.Lock()
		defer ls.mu.Unlock()
		if l.waiting--; l.waiting == 0 {
			l.wanted = make(chan struct{})
		}
		if err != nil {
			ls.leave(host, l)
		}
	}()
	select {
	case l.transfers <- struct{}{}:
		return ls.release(host, l), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// spare begins a transfer to a host if one may begin, and none waits. wanted is closed when
// one waits later.
func (ls *limiters) spare(host string) (release func(), wanted <-chan struct{}, ok bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.use(host)
	if l.waiting == 0 {
		select {
		case l.transfers <- struct{}{}:
			return ls.release(host, l), l.wanted, true
		default:
		}
	}
	ls.leave(host, l)
	return nil, nil, false
}
