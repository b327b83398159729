package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// slowRate is what one connection to a CDN often carries, in bytes a second.
	slowRate = 40e6
	// slowPart is forwarded at once. It is small against slowRate, so that what a
	// connection brings is even over times that a reader would notice.
	slowPart = 64 << 10
	// slowCredit is how much a connection may be late by and still catch up. It is
	// what the timers of a busy machine oversleep.
	slowCredit = 10 * time.Millisecond
)

// slowLink forwards connections to a server, and of what the server sends no more than
// rate bytes a second on each.
type slowLink struct {
	Host string // where to connect to

	to   string
	rate float64
	l    net.Listener
	wg   sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

func newSlowLink(to string, rate float64) (*slowLink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for a slow network: %w", err)
	}
	s := &slowLink{Host: l.Addr().String(), to: to, rate: rate, l: l, open: map[net.Conn]bool{}}
	s.wg.Go(s.accept)
	return s, nil
}

func (s *slowLink) accept() {
	for {
		client, err := s.l.Accept()
		if err != nil {
			return // closed
		}
		s.wg.Go(func() { s.forward(client) })
	}
}

// Close ends every connection, and waits.
func (s *slowLink) Close() error {
	err := s.l.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.open {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// hold says that c is to be closed with the link. It says no where that is closed.
func (s *slowLink) hold(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	s.open[c] = true
	return true
}

func (s *slowLink) drop(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	c.Close()
}

func (s *slowLink) forward(client net.Conn) {
	if !s.hold(client) {
		return
	}
	defer s.drop(client)
	server, err := net.Dial("tcp", s.to)
	if err != nil || !s.hold(server) {
		return
	}
	defer s.drop(server)
	// The end of one direction is the end of both: HTTP never closes one alone.
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(server, client)
		server.Close()
	})
	s.pace(client, server)
	client.Close()
	wg.Wait()
}

// pace copies no faster than the rate. Time in which nothing came earns nothing beyond
// slowCredit.
func (s *slowLink) pace(to io.Writer, from io.Reader) {
	due := time.Now()
	buf := make([]byte, slowPart)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if now := time.Now(); now.Sub(due) > slowCredit {
				due = now.Add(-slowCredit)
			}
			due = due.Add(time.Duration(float64(n) / s.rate * float64(time.Second)))
			time.Sleep(time.Until(due))
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
