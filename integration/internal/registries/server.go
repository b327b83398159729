package registries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is one registry behind its front. All methods are safe for concurrent
// use.
type Server struct {
	// Host is host:port, as a reference spells it. It stays the same over Gone
	// and Back.
	Host string
	// Tokens is the token server, where the registry asks for tokens.
	Tokens *TokenServer

	recorder
	faults

	front http.Handler
	stop  []func() error // in reverse order

	mu   sync.Mutex
	http *http.Server // nil while the registry is gone
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// serve puts the registry behind a front on listener.
func serve(l net.Listener, registry http.Handler) *Server {
	s := &Server{Host: l.Addr().String()}
	s.front = s.record(s.spoil(registry))
	s.listen(l)
	return s
}

func (s *Server) listen(l net.Listener) {
	srv := &http.Server{
		Handler:           s.front,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // clients try TLS first: nothing to report
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	s.mu.Lock()
	s.http = srv
	s.mu.Unlock()
	go srv.Serve(l) // ends with srv.Close
}

// Gone closes the registry's port and cuts every connection, as if its machine
// had been switched off. Connections are refused until Back.
func (s *Server) Gone() error {
	s.mu.Lock()
	srv := s.http
	s.http = nil
	s.mu.Unlock()
	if srv == nil {
		return nil
	}
	err := srv.Close()
	s.release() // after it: what was held must not go out
	return err
}

// Back ends what Gone began: the registry answers again, on the same port.
func (s *Server) Back() error {
	l, err := net.Listen("tcp", s.Host)
	if err != nil {
		return fmt.Errorf("reopening the registry: %w", err)
	}
	s.listen(l)
	return nil
}

// Close ends the registry and all that belongs to it.
func (s *Server) Close() error {
	errs := []error{s.Gone()}
	if s.Tokens != nil {
		errs = append(errs, s.Tokens.Close())
	}
	for i := len(s.stop) - 1; i >= 0; i-- {
		errs = append(errs, s.stop[i]())
	}
	return errors.Join(errs...)
}

// loopback listens on a free port.
func loopback() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for a registry: %w", err)
	}
	return l, nil
}

// waitFor asks host until it answers HTTP.
func waitFor(ctx context.Context, host string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/v2/", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the registry at %s: %w", host, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
