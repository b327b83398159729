package network

import (
	"net"
	"slices"
	"sync"
	"time"
)

// link is one connection from a program, and the one to the server that goes with
// it.
type link struct {
	proxy  *Proxy
	number uint64 // in the order in which they came
	client net.Conn

	once  sync.Once
	ended chan struct{}

	mu     sync.Mutex
	server net.Conn // nil until it is made
}

func newLink(p *Proxy, c net.Conn, number uint64) *link {
	return &link{proxy: p, number: number, client: c, ended: make(chan struct{})}
}

// end closes both connections, by cut or by reset.
func (k *link) end(how func(net.Conn)) {
	k.once.Do(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		close(k.ended)
		how(k.client)
		if k.server != nil {
			how(k.server)
		}
	})
}

// cut says that all was said.
func cut(c net.Conn) { c.Close() }

// reset breaks a connection: what was sent and not read yet may be lost.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

func (k *link) run() {
	defer k.proxy.gone(k)
	if w, _ := k.proxy.now(); w != nil && slices.Contains(w.Kinds, Refuse) {
		// A draw of its own, so that what follows doesn't depend on it.
		if f := newFate(^k.proxy.seed, k.number, 0); f.next(w) == Refuse {
			k.proxy.met(Refuse)
			k.end(reset)
			return
		}
	}
	server, err := net.DialTimeout("tcp", k.proxy.to, dialTimeout)
	if err != nil {
		k.end(reset)
		return
	}
	k.mu.Lock()
	k.server = server
	k.mu.Unlock()
	select {
	case <-k.ended: // while it was dialled
		reset(server)
		return
	default:
	}
	var wg sync.WaitGroup
	wg.Go(func() { k.pump(server, k.client, newFate(k.proxy.seed, k.number, 0), pace{}) })
	wg.Go(func() { k.pump(k.client, server, newFate(k.proxy.seed, k.number, 1), pace{rate: k.proxy.rate}) })
	wg.Wait()
}

// pump forwards one direction until the connection ends. Programs that speak HTTP
// never close one direction alone, so the end of one is the end of both.
func (k *link) pump(to, from net.Conn, f *fate, at pace) {
	buf := make([]byte, 32<<10)
	slow := int64(0) // bytes that are still throttled
	for {
		n, err := from.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			w, _ := k.proxy.now()
			part := b
			if w != nil {
				part = b[:min(int64(len(b)), f.calm(w))]
				f.left -= int64(len(part))
			}
			if w != nil && w.Rate > 0 && slow > 0 { // the weather may have changed since
				slow -= int64(len(part))
				k.wait(time.Duration(int64(len(part)) * int64(time.Second) / w.Rate))
			}
			k.sleep(at.delay(time.Now(), len(part)))
			k.proxy.count(int64(len(part))) // before anyone can have them
			if _, err := to.Write(part); err != nil {
				k.end(cut)
				return
			}
			if b = b[len(part):]; w != nil && f.left == 0 {
				slow = max(slow, k.meet(w, f))
			}
		}
		if err != nil {
			k.end(cut)
			return
		}
	}
}

// meet does to the connection what its fate is, and gives how many bytes are slow
// from now on.
func (k *link) meet(w *Weather, f *fate) (slow int64) {
	kind := f.next(w)
	if kind == Refuse { // that is for new ones
		return 0
	}
	k.proxy.met(kind)
	switch kind {
	case Cut:
		k.end(cut)
	case Reset:
		k.end(reset)
	case Delay:
		k.wait(f.pause(w.Delay))
	case Stall:
		long := f.pause(w.Stall)
		if f.random.Float64() < w.Forever {
			long = -1
		}
		k.wait(long)
	case Throttle:
		return w.Slow
	}
	return 0
}

// sleep waits so long, but no longer than the connection lasts.
func (k *link) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-k.ended:
	}
}

// wait waits so long, for ever if it is negative, but no longer than the storm and
// the connection last.
func (k *link) wait(d time.Duration) {
	w, calmed := k.proxy.now()
	if w == nil {
		return
	}
	var over <-chan time.Time // never, where it is for ever
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
	case <-calmed:
	case <-k.ended:
	}
}
