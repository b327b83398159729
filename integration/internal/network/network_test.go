package network_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/network"
)

// startEcho gives a network before a server that says what it is told.
func startEcho(t *testing.T) *network.Proxy {
	t.Helper()
	return start(t, func(c net.Conn) { io.Copy(c, c) })
}

// start gives a network before a server.
func start(t *testing.T, serve func(net.Conn)) *network.Proxy {
	t.Helper()
	p, err := network.New(startServer(t, serve), 7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// startServer gives the address of a server.
func startServer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, p *network.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// echo sends b and gives what comes back.
func echo(c net.Conn, b []byte) ([]byte, error) {
	go c.Write(b)
	got := make([]byte, len(b))
	n, err := io.ReadFull(c, got)
	return got[:n], err
}

// always is a weather of one kind, soon after the beginning.
func always(k network.Kind) network.Weather {
	return network.Weather{
		Kinds: []network.Kind{k}, Every: 1000,
		Delay: time.Millisecond, Stall: time.Millisecond, Rate: 10 << 20, Slow: 1000,
	}
}

// A calm network changes nothing, and what is slow comes as it was sent.
func TestWhatArrivesIsRight(t *testing.T) {
	sent := content.NoiseBytes(1, 300_000)
	for _, k := range []network.Kind{"", network.Delay, network.Stall, network.Throttle} {
		t.Run("always "+string(k), func(t *testing.T) {
			p := startEcho(t)
			if k != "" {
				p.Weather(always(k))
			}
			got, err := echo(dial(t, p), sent)
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("of %d bytes %d came, %v; they are the same: %t", len(sent), len(got), err, bytes.Equal(got, sent))
			}
			f := p.Figures()
			if f.Connections != 1 || f.Open != 1 || f.Bytes != 2*int64(len(sent)) || k != "" && f.Faults[k] == 0 {
				t.Errorf("figures: %v", f)
			}
		})
	}
}

// What a weather made slow goes on in the next, which may know nothing of slowness.
func TestTheWeatherChanges(t *testing.T) {
	p := startEcho(t)
	slow := always(network.Throttle)
	slow.Slow = 1 << 40
	p.Weather(slow)
	c := dial(t, p)
	sent := content.NoiseBytes(1, 100_000)
	for range 2 {
		if got, err := echo(c, sent); err != nil || !bytes.Equal(got, sent) {
			t.Errorf("of %d bytes %d came, %v", len(sent), len(got), err)
		}
		p.Weather(network.Weather{Kinds: []network.Kind{network.Delay}, Every: 1000})
	}
}

// What breaks breaks in its way, and what came before that is right.
func TestWhatBreaks(t *testing.T) {
	sent := content.NoiseBytes(1, 300_000)
	for k, how := range map[network.Kind]error{
		network.Cut:    io.ErrUnexpectedEOF,
		network.Reset:  syscall.ECONNRESET,
		network.Refuse: syscall.ECONNRESET,
	} {
		t.Run(string(k), func(t *testing.T) {
			p := start(t, func(c net.Conn) { c.Write(sent) })
			p.Weather(always(k))
			got := make([]byte, len(sent))
			n := 0
			c, err := net.Dial("tcp", p.Host)
			if err == nil { // it may be refused as early as that
				defer c.Close()
				n, err = io.ReadFull(c, got)
			}
			if !errors.Is(err, how) || !bytes.HasPrefix(sent, got[:n]) {
				t.Errorf("%d bytes came, then %v, want %v", n, err, how)
			}
			if k == network.Refuse && n > 0 {
				t.Errorf("%d bytes came through a connection that is refused", n)
			}
			if p.Figures().Faults[k] != 1 {
				t.Errorf("figures: %v", p.Figures())
			}
		})
	}
}

// The same seed has the same connection break after the same bytes.
func TestSeed(t *testing.T) {
	broke := func() (at []int64) {
		p := startEcho(t)
		p.Weather(network.Weather{Kinds: []network.Kind{network.Cut}, Every: 5000})
		for range 5 {
			before := p.Figures().Bytes
			c := dial(t, p)
			// One byte at a time, each after the last came back: what is lost is one.
			for b := []byte{'x'}; ; {
				if _, err := c.Write(b); err != nil {
					break
				}
				if _, err := io.ReadFull(c, b); err != nil {
					break
				}
			}
			at = append(at, p.Figures().Bytes-before)
		}
		return at
	}
	first, second := broke(), broke()
	for i := range first {
		// In each direction a byte may be counted or not when the other ends.
		if d := first[i] - second[i]; d < -2 || d > 2 {
			t.Errorf("connections broke after %v bytes, and after %v", first, second)
		}
	}
}

// What stalls for ever goes on when it is calm.
func TestCalm(t *testing.T) {
	p := startEcho(t)
	w := always(network.Stall)
	w.Forever = 1
	p.Weather(w)
	sent := content.NoiseBytes(1, 100_000)
	c := dial(t, p)
	came := make(chan bool)
	go func() {
		got, err := echo(c, sent)
		came <- err == nil && bytes.Equal(got, sent)
	}()
	for p.Figures().Faults[network.Stall] == 0 {
		time.Sleep(time.Millisecond)
	}
	select {
	case <-came:
		t.Error("all came although it stalls")
	case <-time.After(50 * time.Millisecond):
	}
	p.Calm()
	if !<-came {
		t.Error("what came isn't what was sent")
	}
}

// A network that is down refuses, keeps its port, and leaves no connection.
func TestDownAndUp(t *testing.T) {
	p := startEcho(t)
	c := dial(t, p)
	if _, err := echo(c, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p.Down()
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the old connection says %v", err)
		}
		if _, err := net.Dial("tcp", p.Host); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a new connection says %v, want that it is refused", err)
		}
		if err := p.Up(); err != nil {
			t.Fatal(err)
		}
		c = dial(t, p)
		if got, err := echo(c, []byte("hello")); err != nil || string(got) != "hello" {
			t.Errorf("when it is up again: %q, %v", got, err)
		}
	}
	c.Close()
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if f := p.Figures(); f.Open != 0 {
		t.Errorf("after Close: %v", f)
	}
}

// A connection of a slow network carries all that is sent, and no more than its rate; what
// another one carries is not taken from it.
func TestASlowNetworkKeepsItsRate(t *testing.T) {
	const size, rate = 1 << 20, 4 << 20 // a quarter of a second
	const credit = 10 * time.Millisecond
	want := content.NoiseBytes(1, size)
	to := startServer(t, func(c net.Conn) { // what is asked first, then all
		if _, err := io.ReadFull(c, make([]byte, 4)); err == nil {
			c.Write(want)
		}
	})
	p, err := network.NewSlow(to, rate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			began := time.Now()
			c, err := net.Dial("tcp", p.Host)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.Write([]byte("send"))
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes came, %v; want %d that are the same", len(got), err, len(want))
			}
			least := size*time.Second/rate - credit
			if took := time.Since(began); took < least {
				t.Errorf("it took %s, which is faster than %s", took, least)
			}
		})
	}
	wg.Wait()
}

// Close doesn't wait for what is slow.
func TestASlowNetworkEndsAtOnce(t *testing.T) {
	p, err := network.NewSlow(startServer(t, func(c net.Conn) { io.Copy(c, c) }), 1)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, p)
	if _, err := c.Write([]byte("a minute's worth of bytes, and more: a byte is a second here")); err != nil {
		t.Fatal(err)
	}
	for p.Figures().Bytes == 0 { // the server has them; their way back is slow
		time.Sleep(time.Millisecond)
	}
	closed := make(chan error, 1)
	go func() { closed <- p.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("Close waits for bytes that are slow")
	}
}
