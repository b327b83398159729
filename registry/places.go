package registry

import (
	"context"
	"sync"
)

// line is the places for something at a host, and who waits for one.
type line struct {
	places  chan struct{}
	waiting int           // guarded by Client.mu
	wanted  chan struct{} // closed while someone waits; guarded by Client.mu
}

// line gives the one of a host. mu is held.
func (c *Client) line(all map[string]*line, host string, n int) *line {
	l := all[host]
	if l == nil {
		l = &line{places: make(chan struct{}, n), wanted: make(chan struct{})}
		all[host] = l
	}
	return l
}

// slot waits for one of the places for blob bodies at a host.
func (c *Client) slot(ctx context.Context, host string) (release func(), err error) {
	return c.take(ctx, c.slots, host, c.opts.Downloads)
}

func (c *Client) take(ctx context.Context, all map[string]*line, host string, n int) (release func(), err error) {
	c.mu.Lock()
	l := c.line(all, host, n)
	select {
	case l.places <- struct{}{}:
		c.mu.Unlock()
		return l.release(), nil
	default:
	}
	if l.waiting++; l.waiting == 1 {
		close(l.wanted)
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if l.waiting--; l.waiting == 0 {
			l.wanted = make(chan struct{})
		}
	}()
	select {
	case l.places <- struct{}{}:
		return l.release(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// spare takes a place that nobody waits for, if there is one. wanted is closed when
// somebody does.
func (c *Client) spare(all map[string]*line, host string, n int) (release func(), wanted <-chan struct{}, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.line(all, host, n)
	if l.waiting > 0 {
		return nil, nil, false
	}
	select {
	case l.places <- struct{}{}:
		return l.release(), l.wanted, true
	default:
		return nil, nil, false
	}
}

func (l *line) release() func() { return sync.OnceFunc(func() { <-l.places }) }
