package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Proxy forwards connections to one server. All methods are safe for concurrent use.
type Proxy struct {
	// Host is host:port, where programs connect to. It stays the same over Down and
	// Up.
	Host string

	to   string
	rate int64 // of what the server sends on each connection, in bytes a second; 0: no bound
	seed uint64
	held int            // a socket that keeps the port ours while nobody listens
	wg   sync.WaitGroup // of whatever runs

	mu       sync.Mutex
	listener net.Listener  // nil while it is down
	weather  *Weather      // nil: calm
	calmed   chan struct{} // closed when it is calm
	links    map[*link]bool
	figures  Figures
	closed   bool
}

// Figures say what went through, and what didn't.
type Figures struct {
	Open, Connections int   // now, and ever
	Bytes             int64 // both ways
	Faults            map[Kind]int
}

// New puts a calm network before the server at host:port to.
func New(to string, seed uint64) (*Proxy, error) { return open(&Proxy{to: to, seed: seed}) }

// NewSlow puts a network before the server at host:port to, on which each connection
// carries at most rate bytes a second of what the server sends.
func NewSlow(to string, rate int64) (*Proxy, error) { return open(&Proxy{to: to, rate: rate}) }

func open(p *Proxy) (*Proxy, error) {
	p.held, p.links, p.calmed = -1, map[*link]bool{}, make(chan struct{})
	close(p.calmed)
	p.figures.Faults = map[Kind]int{}
	if err := p.listen("127.0.0.1:0"); err != nil {
		return nil, err
	}
	if err := p.hold(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// listen opens the port in a way that lets hold keep it.
func (p *Proxy) listen(host string) error {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}), err)
	}}
	l, err := config.Listen(context.Background(), "tcp", host)
	if err != nil {
		return fmt.Errorf("listening for a network: %w", err)
	}
	p.Host, p.listener = l.Addr().String(), l
	p.wg.Go(func() { p.accept(l) })
	return nil
}

// hold keeps the port with a socket that never listens, so that what connects while
// the network is down is refused, and no other program gets the port meanwhile.
func (p *Proxy) hold() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return fmt.Errorf("keeping a port: %w", err)
	}
	unix.CloseOnExec(fd)
	p.held = fd
	at := p.listener.Addr().(*net.TCPAddr)
	addr := &unix.SockaddrInet4{Port: at.Port, Addr: [4]byte(at.IP.To4())}
	if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), unix.Bind(fd, addr)); err != nil {
		return fmt.Errorf("keeping a port: %w", err)
	}
	return nil
}

func (p *Proxy) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // it is down
		}
		p.mu.Lock()
		if p.listener != l {
			p.mu.Unlock()
			reset(c)
			continue
		}
		n := uint64(p.figures.Connections)
		p.figures.Connections++
		k := newLink(p, c, n)
		p.links[k] = true
		p.wg.Go(k.run)
		p.mu.Unlock()
	}
}

// Weather has things go wrong from now on, on the connections that there are too.
func (p *Proxy) Weather(w Weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.weather == nil {
		p.calmed = make(chan struct{})
	}
	p.weather = &w
}

// Calm ends that. What is stalled goes on. A network that is down stays down.
func (p *Proxy) Calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.weather != nil {
		p.weather = nil
		close(p.calmed)
	}
}

// Down resets every connection, and has new ones refused until Up.
func (p *Proxy) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return
	}
	p.listener.Close()
	p.listener = nil
	p.figures.Faults[Down]++
	for k := range p.links {
		k.end(reset)
	}
}

// Up ends what Down began.
func (p *Proxy) Up() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil || p.closed {
		return nil
	}
	return p.listen(p.Host)
}

// Figures are those of now.
func (p *Proxy) Figures() Figures {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.figures
	f.Open, f.Faults = len(p.links), maps.Clone(f.Faults)
	return f
}

func (f Figures) String() string {
	return fmt.Sprintf("%d connections, %d of them open, %d KiB, faults %v", f.Connections, f.Open, f.Bytes>>10, f.Faults)
}

// Close ends the proxy and waits until nothing of it is left.
func (p *Proxy) Close() error {
	p.Down()
	p.Calm()
	p.mu.Lock()
	p.closed = true
	held := p.held
	p.held = -1
	p.mu.Unlock()
	p.wg.Wait()
	if held < 0 {
		return nil
	}
	return unix.Close(held)
}

// now gives the weather; nil where it is calm.
func (p *Proxy) now() (w *Weather, calmed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.weather, p.calmed
}

func (p *Proxy) count(bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.figures.Bytes += bytes
}

func (p *Proxy) met(k Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.figures.Faults[k]++
}

func (p *Proxy) gone(k *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, k)
}

// dialTimeout is long enough for a server on the same machine.
const dialTimeout = 10 * time.Second
