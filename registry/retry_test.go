package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// What may pass is tried again, after pauses that grow, a few times; what won't is
// told at once.
//
// Behaviour: fail.backoff
func TestAReadIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		quirk registrytest.Quirk
		kind  error
		times int
	}{
		"408":     {registrytest.Status(408, ""), ErrTimeout, 4},
		"429":     {registrytest.Status(429, ""), ErrTooManyRequests, 4},
		"500":     {registrytest.Status(500, ""), ErrServer, 4},
		"502":     {registrytest.Status(502, "<html>"), ErrServer, 4},
		"503":     {registrytest.Status(503, ""), ErrServer, 4},
		"504":     {registrytest.Status(504, ""), ErrServer, 4},
		"499":     {registrytest.Status(499, ""), ErrServer, 4},
		"520":     {registrytest.Status(520, "error code: 520"), ErrServer, 4},
		"524":     {registrytest.Status(524, "error code: 524"), ErrServer, 4},
		"526":     {registrytest.Status(526, "error code: 526"), ErrServer, 1},
		"a reset": {registrytest.Reset(), ErrServer, 4},
		"403":     {registrytest.Status(403, ""), ErrDenied, 1},
		"404":     {registrytest.Status(404, ""), ErrNotFound, 1},
		"410":     {registrytest.Status(410, ""), ErrNotFound, 1},
		"418":     {registrytest.Status(418, ""), ErrServer, 1},
		"507":     {registrytest.Status(507, ""), ErrServer, 1},
	} {
		for what, read := range reads {
			t.Run(what+" "+name, func(t *testing.T) {
				s := registrytest.Start(t, registrytest.Options{})
				s.Image("a/b", "v1", []byte(layer))
				b := quick()
				b.pauses = []time.Duration{time.Millisecond, 4 * time.Millisecond, 16 * time.Millisecond}
				cl := knowing(t, Options{}, b, s)
				var arrived clocked
				always := s.On(what, arrived.look(), c.quirk)
				if err := read(cl, in(s)); !errors.Is(err, c.kind) || s.Count("* *") != c.times {
					t.Errorf("%v, asked %q", err, s.Asked())
				}
				for i, at := range arrived.times()[1:] {
					if got, pause := at.Sub(arrived.times()[i]), b.pauses[i]; got < pause {
						t.Errorf("pause %d was %s", i, got)
					}
				}
				always.End()
				if c.times == 1 {
					return
				}
				s.Forget()
				s.First(3, what, c.quirk)
				if err := read(cl, in(s)); err != nil || s.Count("* *") != 4 {
					t.Errorf("%v, asked %q", err, s.Asked())
				}
			})
		}
	}
}

// A session may be begun once more. What goes into it never is, without a look at what
// is there: at the session, or at the blob.
//
// Behaviour: fail.backoff
func TestNoByteIsSentAgainWithoutALook(t *testing.T) {
	content := strings.Repeat(anyway, 3)
	for name, q := range map[string]registrytest.Quirk{
		"408": registrytest.Status(408, ""), "500": registrytest.Status(500, ""), "502": registrytest.Status(502, ""),
		"503": registrytest.Status(503, ""), "504": registrytest.Status(504, ""), "a reset": registrytest.Reset(), "no answer": registrytest.Lost(),
		"some of it": registrytest.Take(20),
	} {
		for _, at := range []string{"POST upload", "PUT upload", "PATCH upload"} {
			t.Run(at+", "+name, func(t *testing.T) {
				s := registrytest.Start(t, registrytest.Options{})
				b := quick()
				b.chunk = 40
				c := knowing(t, Options{}, b, s)
				if at == "PATCH upload" {
					s.First(1, "PUT upload", registrytest.Status(405, ""))
				}
				s.First(2, at, q)
				if _, err := sendBlob(context.Background(), c, in(s), content); err != nil {
					t.Fatalf("%v: %q", err, s.Asked())
				}
				if got := string(s.ReadBlob("a/b", digest.FromString(content))); got != content {
					t.Errorf("it has %q", got)
				}
				failed := false
				for _, q := range s.Requests() {
					switch {
					case q.Method == "GET" || q.Method == "HEAD" || q.Method == "POST":
						failed = false
					case q.Method == "DELETE": // beside
					case failed:
						t.Fatalf("%s was sent without a look: %q", q, s.Asked())
					default:
						failed = q.Status == 0 || q.Status >= 400
					}
				}
			})
		}
	}
}

// A manifest is its own digest, and may be sent again; a deletion whose answer was lost
// is done where what is deleted isn't there any more, and only then.
//
// Behaviour: fail.backoff
func TestWritesThatMayBeRepeatedAre(t *testing.T) {
	m, err := ParseManifest([]byte(`{"schemaVersion":2,"mediaType":"`+v1.MediaTypeImageIndex+`","manifests":[]}`), "", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]registrytest.Quirk{"502": registrytest.Status(502, ""), "a reset": registrytest.Reset(), "no answer": registrytest.Lost()} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			c := knowing(t, Options{}, quick(), s)
			s.First(1, "PUT manifest", q)
			s.First(1, "DELETE manifest", q)
			if err := c.PushManifest(context.Background(), in(s), m, "v1"); err != nil {
				t.Error(err)
			}
			if err := c.DeleteManifest(context.Background(), in(s), m.Digest); err != nil {
				t.Error(err)
			}
			s.Want("PUT manifest v1", "PUT manifest v1", "GET manifest", "DELETE manifest", "DELETE manifest")
			if err := c.DeleteManifest(context.Background(), in(s), m.Digest); !errors.Is(err, ErrNotFound) {
				t.Errorf("what isn't there is deleted: %v", err)
			}
		})
	}
}

// dials counts the connections that a client begins.
func dials(c *Client, dialer *net.Dialer) *atomic.Int64 {
	var n atomic.Int64
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		n.Add(1)
		return dialer.DialContext(ctx, network, address)
	}
	c.transports.usual.meta.DialContext, c.transports.usual.bulk.DialContext = dial, dial
	return &n
}

// A host that refuses, whose name nobody knows, or that hangs is asked once in a while,
// not for each name; whoever asks meanwhile is told at once, with the same error.
//
// Behaviour: fail.down, fail.backoff
func TestAHostThatIsDownIsLeftAlone(t *testing.T) {
	refuses := registrytest.Start(t, registrytest.Options{})
	refuses.Gone()
	nobody := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no name server") }}
	for name, c := range map[string]struct {
		host   string
		dialer *net.Dialer
		tries  int64 // of one who asks
	}{
		"refuses": {refuses.Host, &net.Dialer{}, 2},
		"no name": {"registry.example", &net.Dialer{Resolver: nobody}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			cl := newClient(Options{}, quick())
			t.Cleanup(cl.Close)
			n := dials(cl, c.dialer)
			r := ref.Repository{Host: c.host, Path: "a/b"}
			began := time.Now()
			for range 25 {
				for what, read := range reads {
					if err := read(cl, r); !errors.Is(err, ErrUnreachable) {
						t.Fatalf("%s: %v", what, err)
					}
				}
			}
			// It is tried again once in a moment at the most.
			if most := c.tries + int64(time.Since(began)/moment); n.Load() > most || n.Load() == 0 {
				t.Errorf("%d connections were begun, at most %d may be", n.Load(), most)
			}
			if h := cl.State(); len(h) != 1 || h[0].Servers[0].Down == "" || h[0].Servers[0].Since == nil {
				t.Errorf("%+v", h)
			}
			// Those who ask at the same time find out together, and nobody after them.
			cl.learnt.health(c.host).answered()
			n.Store(0)
			var all sync.WaitGroup
			for range 100 {
				all.Go(func() {
					if _, err := cl.Manifest(context.Background(), r, "v1"); !errors.Is(err, ErrUnreachable) {
						t.Error(err)
					}
				})
			}
			all.Wait()
			cl.learnt.health(c.host).failed(cl.learnt.health(c.host).err, downAtMost)
			if n.Swap(0) > 100*c.tries {
				t.Error("more was tried than each would by itself")
			}
			if _, err := cl.Manifest(context.Background(), r, "v1"); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "not asked again so soon") || n.Load() != 0 {
				t.Errorf("%v after %d", err, n.Load())
			}
			// A write asks nevertheless.
			if err := cl.DeleteTag(context.Background(), r, "v1"); !errors.Is(err, ErrUnreachable) || n.Load() == 0 {
				t.Errorf("a write: %v", err)
			}
		})
	}
}

// A host that hangs as it is connected to costs its time-out once.
//
// Behaviour: fail.down
func TestAHostThatHangsIsLeftAlone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn // which nobody answers
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, c)
		}
	}()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, mirrored.Host), 0o700); err != nil {
		t.Fatal(err)
	}
	toml := fmt.Sprintf("server = \"https://%s\"\ndial_timeout = \"200ms\"\n", l.Addr())
	if err := os.WriteFile(filepath.Join(dir, mirrored.Host, "hosts.toml"), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newClient(Options{Config: hosts.New(hosts.Options{Containerd: []string{dir}})}, quick())
	t.Cleanup(c.Close)
	began := time.Now()
	for range 25 {
		for what, read := range reads {
			if err := read(c, mirrored); !errors.Is(err, ErrTimeout) {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	took := time.Since(began)
	l.Close()
	<-over
	for _, c := range conns {
		c.Close()
	}
	if most := 1 + int(took/downAtLeast); len(conns) > most || len(conns) == 0 {
		t.Errorf("%d connections in %s", len(conns), took)
	}
}

// A host that is back is back for all, as soon as anything is answered; what it is that
// it answers doesn't matter.
//
// Behaviour: fail.down
func TestAHostThatIsBackIsAsked(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("a/b", "v1", []byte(layer))
	c := knowing(t, Options{}, quick(), s)
	s.Gone()
	if _, err := c.Manifest(context.Background(), in(s), "v1"); !errors.Is(err, ErrUnreachable) {
		t.Fatal(err)
	}
	h := c.learnt.health(s.Host)
	h.failed(h.err, time.Hour) // for as long as can be
	s.Back()
	if _, err := c.Manifest(context.Background(), in(s), "v1"); !errors.Is(err, ErrUnreachable) || s.Count("* *") != 0 {
		t.Errorf("it was asked: %v", err)
	}
	if err := c.DeleteTag(context.Background(), in(s), "v2"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := c.Manifest(context.Background(), in(s), "v1"); err != nil || c.State()[0].Servers[0].Down != "" {
		t.Error(err)
	}
	if h.failed(errors.New("x"), time.Hour); time.Until(h.until) > downAtMost {
		t.Errorf("it is left alone until %s", h.until)
	}
}

// minutes says whether a time is some minutes from now.
func minutes(until time.Time) bool {
	return until.After(time.Now().Add(time.Minute)) && until.Before(time.Now().Add(30*time.Minute))
}

// What a registry seemed to lack is looked for again after some minutes: it may have
// been brought up to date.
//
// Behaviour: fail.relearn
func TestWhatARegistryLacksIsLookedForAgain(t *testing.T) {
	ctx := context.Background()
	s := registrytest.Start(t, registrytest.Options{})
	c := knowing(t, Options{}, quick(), s)
	d := s.Image("a/b", "v1", []byte(layer))
	m, err := c.Manifest(ctx, in(s), "v1")
	if err != nil {
		t.Fatal(err)
	}
	ask := func(times int, what string, do func() error) {
		t.Helper()
		s.Forget()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		if got := s.Count(what); got != times {
			t.Errorf("asked %d times for %s, want %d: %q", got, what, times, s.Asked())
		}
	}
	referrers := func() error { _, err := c.Referrers(ctx, in(s), d, ""); return err }
	ask(1, "GET referrers", referrers)
	ask(0, "GET referrers", referrers)
	if until, _ := c.learnt.noReferrers.Peek(in(s)); !minutes(until) {
		t.Errorf("until %s", until)
	}
	s.Change(func(t *registrytest.Traits) { t.Referrers = true })
	c.learnt.noReferrers.Add(in(s), time.Now().Add(-time.Second))
	ask(1, "GET referrers", referrers)
	ask(1, "GET referrers", referrers)

	tags := func() error { return c.PushManifest(ctx, in(s), m, "a", "b") }
	ask(3, "PUT manifest", tags) // at once, and one by one
	ask(2, "PUT manifest", tags)
	if until, _ := c.learnt.noTagList.Peek(s.Host); !minutes(until) {
		t.Errorf("until %s", until)
	}
	s.Change(func(t *registrytest.Traits) { t.OCITag = true })
	c.learnt.noTagList.Add(s.Host, time.Now().Add(-time.Second))
	ask(1, "PUT manifest", tags)
	ask(1, "PUT manifest", tags)

	n := 0
	upload := func() error {
		n++
		_, err := sendBlob(ctx, c, in(s), fmt.Sprint("blob ", n))
		return err
	}
	refused := s.On("PUT upload", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
		if x.ContentLength > 0 {
			return registrytest.Status(405, "")(x, next)
		}
		return next()
	})
	ask(2, "PUT upload", upload) // in one piece, and to close
	ask(1, "PUT upload", upload)
	known, _ := c.learnt.chunked.Peek(s.Host)
	if !minutes(known.until) {
		t.Errorf("until %s", known.until)
	}
	refused.End()
	known.until = time.Now().Add(-time.Second)
	c.learnt.chunked.Add(s.Host, known)
	ask(0, "PATCH upload", upload)
	ask(0, "PATCH upload", upload)
}
