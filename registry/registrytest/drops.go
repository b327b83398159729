package registrytest

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Delay waits before anything is done.
func Delay(d time.Duration) Quirk {
	return func(x *Exchange, next func() *Answer) *Answer {
		over := make(chan struct{})
		defer time.AfterFunc(d, func() { close(over) }).Stop()
		return Hold(over)(x, next)
	}
}

// Hold waits until release is closed, before anything is done. nil is never closed.
func Hold(release <-chan struct{}) Quirk {
	return func(x *Exchange, next func() *Answer) *Answer {
		if !x.wait(release) {
			return nil
		}
		return next()
	}
}

// Swallow takes all of what is sent, and never answers.
func Swallow() Quirk {
	return func(x *Exchange, _ func() *Answer) *Answer {
		_, _ = io.Copy(io.Discard, x.Request.Body)
		x.wait(nil)
		return nil
	}
}

// Stall sends n bytes of the body, and then nothing more; the connection stays.
func Stall(n int) Quirk { return ends(n, func(x *Exchange) { x.wait(nil) }) }

// Trickle sends the body byte by byte, one every so often, as long as anyone waits for it.
func Trickle(every time.Duration) Quirk {
	return Change(func(a *Answer) {
		body := a.Body
		a.After, a.Then = 0, func(x *Exchange) {
			for i := range body {
				over := make(chan struct{})
				t := time.AfterFunc(every, func() { close(over) })
				ok := x.wait(over)
				t.Stop()
				if _, err := x.w.Write(body[i : i+1]); !ok || err != nil {
					return
				}
				_ = http.NewResponseController(x.w).Flush()
			}
		}
	})
}

// Cut sends n bytes of the body, and ends the connection in order. Of HTTP/2 it is
// the stream that is reset.
func Cut(n int) Quirk { return ends(n, func(*Exchange) {}) }

// Reset resets the connection before anything is done or answered.
func Reset() Quirk {
	return func(x *Exchange, _ func() *Answer) *Answer {
		x.reset()
		return nil
	}
}

// ResetStream ends a request of HTTP/2 by RST_STREAM with INTERNAL_ERROR, before headers
// and before anything is done. The connection stays. Of HTTP/1 it is the connection that ends.
func ResetStream() Quirk {
	return func(*Exchange, func() *Answer) *Answer { return nil }
}

// ResetAfter sends n bytes of the body, and resets the connection. n is few: what a
// client hasn't read may be lost by a reset.
func ResetAfter(n int) Quirk { return ends(n, func(x *Exchange) { x.flushed(); x.reset() }) }

// Lost does what is asked, and resets the connection instead of answering.
func Lost() Quirk { return DoneBut(Reset()) }

// Take takes n bytes of what is sent into the session, and resets the connection.
func Take(n int) Quirk {
	return func(x *Exchange, _ func() *Answer) *Answer {
		b := make([]byte, n)
		k, _ := io.ReadFull(x.Request.Body, b)
		s := x.Server
		s.sessions.mu.Lock()
		u := s.sessions.open[x.Reference]
		s.sessions.mu.Unlock()
		if x.Kind == "upload" && u != nil {
			s.take(u, b[:k])
		}
		x.reset()
		return nil
	}
}

// Beyond sends more bytes behind a body that is whole, and ends the connection. It is
// for HTTP/1.
func Beyond(more string) Quirk {
	return func(_ *Exchange, next func() *Answer) *Answer {
		a := next()
		a.After, a.Then = len(a.Body), func(x *Exchange) { _, _ = io.WriteString(x.conn(), more) }
		return a
	}
}

// UntilClose tells no length: the body ends with its connection, after n bytes, as if
// that were all. It is for HTTP/1.
func UntilClose(n int) Quirk {
	return Change(func(a *Answer) {
		a.Body = bytes.Clone(a.Body[:min(n, len(a.Body))])
		a.Length = -1
		a.Header.Set("Transfer-Encoding", "identity")
	})
}

// GoAway answers, and ends the connection once all that is on it is answered: HTTP/2's
// GOAWAY, HTTP/1's Connection: close.
func GoAway() Quirk { return With("Connection", "close") }

// GoAwayAfter says GOAWAY, sends n bytes of the body, and closes the connection with
// all that is on it.
func GoAwayAfter(n int) Quirk {
	cut := ends(n, func(x *Exchange) { x.flushed(); _ = x.raw().Close() })
	return func(x *Exchange, next func() *Answer) *Answer {
		return cut(x, func() *Answer { return GoAway()(x, next) })
	}
}

// ends has an answer end after n bytes of its body.
func ends(n int, then func(*Exchange)) Quirk {
	return Change(func(a *Answer) { a.After, a.Then = n, then })
}

// wait waits for a channel that is closed, and says whether it was, or the client or
// the server went first. nil is never closed.
func (x *Exchange) wait(release <-chan struct{}) bool {
	select {
	case <-release:
		return true
	case <-x.Context().Done():
	case <-x.Server.closed:
	}
	return false
}

// conn is the connection that the request came by, as HTTP sees it.
func (x *Exchange) conn() net.Conn { return x.Context().Value(connKey{}).(net.Conn) }

// raw is the connection below TLS.
func (x *Exchange) raw() *countedConn {
	c := x.conn()
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c.(*countedConn)
}

// reset ends the connection by RST.
func (x *Exchange) reset() {
	c := x.raw()
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// flushed waits until what HTTP/2 has to write is written: it does that on its own.
func (x *Exchange) flushed() {
	if x.ProtoMajor < 2 {
		return
	}
	for c, before := x.raw(), int64(-1); before != c.written.Load(); {
		before = c.written.Load()
		time.Sleep(quiet)
	}
}

// quiet is how long HTTP/2 writes nothing where it has nothing to write.
const quiet = 30 * time.Millisecond

// counted is a listener whose connections count what is written.
type counted struct{ net.Listener }

func (l counted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: c}, nil
}

type countedConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.written.Add(int64(n))
	return n, err
}
