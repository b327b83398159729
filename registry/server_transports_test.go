package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// HTTP/2 is spoken where there is TLS, for all that is asked but parts of blobs, and HTTP/1 where
// there is no HTTP/2.
//
// Behaviour: transport.settings
func TestHTTP2IsSpokenOverTLS(t *testing.T) {
	for want, o := range map[string]registrytest.Options{
		"HTTP/2.0": {TLS: true, Login: janes(true).Login}, "HTTP/1.1": {HTTP1: true, Login: janes(true).Login},
	} {
		s := registrytest.Start(t, o)
		s.Image("a/b", "v1", []byte(layer))
		c := knowing(t, Options{Credentials: creds{s.Host: jane}}, quick(), s)
		for what, read := range reads {
			if err := read(c, in(s)); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := sendBlob(context.Background(), c, in(s), anyway); err != nil {
			t.Error(err)
		}
		for _, q := range s.Requests() {
			if q.Proto != want {
				t.Errorf("%s by %s, want %s", q, q.Proto, want)
			}
		}
	}
}

// The settings of a host are its own: what one transport has learned or been given is
// in no other, and nothing changes one that is in use.
//
// Behaviour: transport.settings
func TestSettingsAreOfOneHost(t *testing.T) {
	a, b := registrytest.Start(t, registrytest.Options{TLS: true}), registrytest.Start(t, registrytest.Options{TLS: true})
	for _, s := range []*registrytest.Server{a, b} {
		s.Image("a/b", "v1", []byte(layer))
	}
	c := knowing(t, Options{}, quick(), a)
	_, before := c.Manifest(context.Background(), in(a), "v1")
	of := func(host string) *transports {
		h, _ := c.hosts.Peek(host)
		return h.server.transports
	}
	first := of(a.Host)
	_, unknown := c.Manifest(context.Background(), in(b), "v1")
	_, after := c.Manifest(context.Background(), in(a), "v1")
	if before != nil || after != nil || !errors.Is(unknown, ErrUnreachable) {
		t.Errorf("%v, %v, %v", before, unknown, after)
	}
	if of(a.Host) != first || first == of(b.Host) || first.meta == first.bulk || first.meta.TLSClientConfig == first.bulk.TLSClientConfig {
		t.Error("connections of different settings are the same")
	}
	if n := b.Count("* *"); n != 0 {
		t.Errorf("a server that isn't trusted was asked %d times", n)
	}
}

// Metadata is answered while any number of blobs is open that nobody reads; so it is
// where a server lets few requests be under way on a connection.
//
// Behaviour: transport.share
func TestMetadataNeverWaitsBehindBlobs(t *testing.T) {
	const bodies = 200
	big := bytes.Repeat([]byte(anyway), 2000)
	for name, o := range map[string]struct {
		opts    registrytest.Options
		streams int // of a connection of HTTP/2; 0: as registrytest has it
	}{
		"HTTP/1": {registrytest.Options{}, 0}, "HTTP/2": {registrytest.Options{TLS: true}, 0}, "HTTP/2, few streams": {registrytest.Options{}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, o.opts)
			s.Image("a/b", "v1", []byte(layer))
			d := s.Blob("a/b", big)
			c := knowing(t, Options{Downloads: bodies}, quick(), s)
			r := in(s)
			if o.streams > 0 {
				h2 := httptest.NewUnstartedServer(s)
				h2.EnableHTTP2, h2.Config.HTTP2 = true, &http.HTTP2Config{MaxConcurrentStreams: o.streams}
				h2.StartTLS()
				t.Cleanup(h2.Close)
				t.Cleanup(c.Close)
				r.Host = h2.Listener.Addr().String()
				tls := h2.Client().Transport.(*http.Transport).TLSClientConfig
				c.transports.usual.meta.TLSClientConfig, c.transports.usual.bulk.TLSClientConfig = tls.Clone(), tls.Clone()
			}
			// So that the bodies are under way until the end, whatever buffers there are.
			s.On("GET blob "+d.String(), registrytest.Stall(1000))
			ctx, cancel := context.WithCancel(context.Background())
			var open []*Body
			defer func() {
				cancel()
				for _, b := range open {
					b.Close()
				}
			}()
			for range bodies {
				b, err := c.BlobRange(ctx, r, v1.Descriptor{Digest: d, Size: int64(len(big))}, 0, -1)
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, b)
			}
			for range 20 {
				if _, err := c.Manifest(context.Background(), r, "v1"); err != nil {
					t.Fatal(err)
				}
				if _, err := c.ResolveBlob(context.Background(), r, d); err != nil {
					t.Fatal(err)
				}
			}
			for _, q := range s.Requests() {
				if want := "HTTP/2.0"; strings.HasPrefix(name, want[:6]) && q.Proto != want {
					t.Fatalf("%s by %s", q, q.Proto)
				}
			}
		})
	}
}

// A body that nobody reads gives up its place to the next; one that comes fast keeps
// it, and one that is closed gives it up once.
//
// Behaviour: transport.share
func TestABodyThatNobodyReadsHoldsNoPlace(t *testing.T) {
	big := bytes.Repeat([]byte(anyway), 10_000)
	s := registrytest.Start(t, registrytest.Options{})
	d := s.Blob("a/b", big)
	c := knowing(t, Options{Downloads: 1}, quick(), s)
	open := func(ctx context.Context) (*Body, error) {
		return c.BlobRange(ctx, in(s), v1.Descriptor{Digest: d, Size: int64(len(big))}, 0, -1)
	}
	first, err := open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := io.CopyN(io.Discard, first, 2*much); err != nil {
		t.Fatal(err)
	}
	first.watch() // as it is after a while
	soon, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := open(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second beside one that comes fast: %v", err)
	}
	first.watch() // nothing was read meanwhile
	second, err := open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	soon, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := open(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the place of the first was given up twice: %v", err)
	}
	second.Close()
	third, err := open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	third.Close()
}

// Every request names the program and its version: those for tokens, those that are led
// elsewhere and those of sessions as well. Bytes are asked for as they are.
//
// Behaviour: transport.agent
func TestEveryRequestNamesTheProgram(t *testing.T) {
	s := registrytest.Start(t, janes(true))
	other := s.Elsewhere(t, registrytest.Options{})
	s.Image("a/b", "v1", []byte(layer))
	s.On("GET blob", ifKnown(registrytest.Presign(other, -1)))
	s.Change(func(t *registrytest.Traits) { t.Sessions = other.URL })
	c := knowing(t, Options{UserAgent: "ocifs/v1.2.3", Credentials: creds{s.Host: jane}}, quick(), s, other)
	for what, read := range reads {
		if err := read(c, in(s)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := sendBlob(context.Background(), c, in(s), anyway); err != nil {
		t.Error(err)
	}
	if s.Count("GET token") == 0 || s.Count("PUT upload") == 0 {
		t.Errorf("asked %q", s.Asked())
	}
	for _, q := range s.Requests() {
		if agent, enc := q.Header.Values("User-Agent"), q.Header.Get("Accept-Encoding"); len(agent) != 1 || agent[0] != "ocifs/v1.2.3" || enc != "identity" {
			t.Errorf("%s by %q, %q", q, agent, enc)
		}
	}
}

// What a registry warns of is logged once for each text and host, on one line; what
// isn't a warning of 299 isn't logged, and there is an end to it.
//
// Behaviour: transport.agent
func TestAWarningIsLoggedOnce(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	other := registrytest.Start(t, registrytest.Options{})
	for _, s := range []*registrytest.Server{s, other} {
		s.Image("a/b", "v1", []byte(layer))
	}
	var log bytes.Buffer
	c := knowing(t, Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))}, quick(), s, other)
	ask := func(s *registrytest.Server, warnings ...string) {
		t.Helper()
		rule := s.On("* *", registrytest.Change(func(a *registrytest.Answer) { a.Header["Warning"] = warnings }))
		defer rule.End()
		for range 3 {
			if _, err := c.Manifest(context.Background(), in(s), "v1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	ask(s, `299 - "soon over"`, `299 - "use another"`, `110 - "stale"`, `2990 - "x"`, `nonsense`)
	ask(other, `299 - "soon over"`)
	if got := log.String(); strings.Count(got, "\n") != 3 || strings.Count(got, "soon over") != 2 || strings.Count(got, "use another") != 1 || strings.Count(got, s.Host) != 2 {
		t.Errorf("logged %s", got)
	}
	for i := range 2 * maxWarnings {
		ask(s, fmt.Sprintf(`299 - "%d"`, i))
	}
	if n := strings.Count(log.String(), "\n"); n != maxWarnings {
		t.Errorf("%d lines", n)
	}
}

// Nothing is left of a client that is closed: no connection, and no goroutine.
//
// Behaviour: transport.settings
func TestNothingIsLeftOfAClient(t *testing.T) {
	for _, o := range []registrytest.Options{{}, {TLS: true}} {
		s := registrytest.Start(t, o)
		s.Image("a/b", "v1", []byte(layer))
		before := runtime.NumGoroutine()
		c := knowing(t, Options{}, quick(), s)
		var all sync.WaitGroup
		var failed atomic.Int64
		s.Nth(3, "GET blob", registrytest.Cut(3))
		s.Nth(5, "GET blob", registrytest.Reset())
		s.Nth(1, "PUT upload", registrytest.Status(507, ""))
		for range 10 {
			for _, read := range reads {
				all.Go(func() {
					if err := read(c, in(s)); err != nil {
						failed.Add(1)
						t.Log(err)
					}
				})
			}
		}
		all.Go(func() { _, _ = sendBlob(context.Background(), c, in(s), anyway) })
		all.Wait()
		// One that is given up in the middle, and one that is interrupted.
		if b, err := c.BlobRange(context.Background(), in(s), v1.Descriptor{Digest: digest.FromString(layer), Size: -1}, 0, -1); err == nil {
			b.Close()
		}
		ctx, cancel := context.WithCancel(context.Background())
		s.On("GET tags", registrytest.Look(func(*registrytest.Exchange) { cancel() }), registrytest.Hold(nil))
		for range c.TagPages(ctx, in(s)) {
		}
		c.Close()
		if failed.Load() > 0 {
			t.Errorf("%d failed", failed.Load())
		}
		// What ends on its own takes a moment.
		end := time.Now().Add(20 * time.Second)
		for (s.Connections() > 0 || runtime.NumGoroutine() > before) && time.Now().Before(end) {
			time.Sleep(10 * time.Millisecond)
		}
		if n := runtime.NumGoroutine(); s.Connections() > 0 || n > before {
			stacks := make([]byte, 1<<20)
			t.Errorf("%d connections and %d goroutines are left:\n%s", s.Connections(), n-before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
