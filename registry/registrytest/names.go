package registrytest

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"testing"
)

// Names is a name server that knows every name as 127.0.0.1 (RFC 1035), but fails at first.
type Names struct {
	fails atomic.Int64 // questions that are answered SERVFAIL from now on
	asked atomic.Int64
	at    string
}

// StartNames starts a name server that answers SERVFAIL to its first questions, so many of
// them. It ends with the test.
func StartNames(t testing.TB, fails int) *Names {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &Names{at: c.LocalAddr().String()}
	n.Fail(fails)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.serve(c)
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return n
}

// Fail has it answer SERVFAIL to the next questions, so many of them.
func (n *Names) Fail(questions int) { n.fails.Store(int64(questions)) }

// Resolver asks this name server alone.
func (n *Names) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", n.at)
	}}
}

// Asked says how many questions came.
func (n *Names) Asked() int { return int(n.asked.Load()) }

const (
	dnsHeader   = 12 // bytes
	dnsServFail = 2
	dnsTypeA    = 1
)

func (n *Names) serve(c net.PacketConn) {
	b := make([]byte, 512)
	for {
		k, from, err := c.ReadFrom(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || k < dnsHeader {
			continue
		}
		n.asked.Add(1)
		if a := n.answer(b[:k]); a != nil {
			_, _ = c.WriteTo(a, from)
		}
	}
}

// answer answers one question; nil: it isn't understood.
func (n *Names) answer(q []byte) []byte {
	end := dnsHeader
	for end < len(q) && q[end] != 0 { // labels
		end += 1 + int(q[end])
	}
	end += 5 // the root, type and class
	if end > len(q) {
		return nil
	}
	a := append([]byte{}, q[:end]...)
	binary.BigEndian.PutUint16(a[2:], 0x8180) // an answer, recursive
	clear(a[6:dnsHeader])                     // no records but the question
	if n.fails.Add(-1) >= 0 {
		a[3] |= dnsServFail
		return a
	}
	if binary.BigEndian.Uint16(q[end-4:]) == dnsTypeA {
		a[7] = 1
		a = append(a, 0xc0, dnsHeader, 0, dnsTypeA, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1)
	}
	return a
}
