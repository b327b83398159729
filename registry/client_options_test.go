package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// recording is a RoundTripper that notes what it sends.
type recording struct {
	next http.RoundTripper
	mu   sync.Mutex
	sent map[string]int // by method and path
}

func (r *recording) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.sent[req.Method+" "+req.URL.Path]++
	r.mu.Unlock()
	return r.next.RoundTrip(req)
}

// Every request goes through a Transport of the caller's, the fetch of a token, a redirect, and
// the body of a blob too; the client's own settings of TLS don't count then.
func TestEveryRequestGoesThroughTheTransport(t *testing.T) {
	o := janes(true)
	o.TLS = true
	s := registrytest.Start(t, o)
	d := s.Blob("a/b", []byte(layer))
	own := &http.Transport{TLSClientConfig: s.ClientTLS()}
	defer own.CloseIdleConnections()
	r := &recording{next: own, sent: map[string]int{}}
	c := newClient(Options{Transport: r, Credentials: creds{"": jane}}, quick())
	defer c.Close()
	b, err := c.Blob(t.Context(), in(s), v1.Descriptor{Digest: d, Size: int64(len(layer))})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, err := sendBlob(t.Context(), c, in(s), "another"); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, n := range r.sent {
		sent += n
	}
	if all := len(s.Requests()); sent != all || r.sent["GET /token"] == 0 {
		t.Errorf("%d of %d requests went through it: %v", sent, all, r.sent)
	}
}

// Retries bounds how often a request is sent again, and a body is continued.
func TestRetriesAreAsManyAsWanted(t *testing.T) {
	for retries, want := range map[int]int{-1: 1, 0: 4, 1: 2, 5: 6} {
		pauses := pausesFor(retries)
		if len(pauses) != want-1 {
			t.Errorf("%d: %d pauses, want %d", retries, len(pauses), want-1)
		}
		for i := range pauses {
			pauses[i] = 1
		}
	}
	for _, retries := range []int{-1, 2} {
		s := registrytest.Start(t, registrytest.Options{})
		b := quick()
		if b.pauses = pausesFor(retries); retries > 0 {
			b.pauses[0], b.pauses[1] = 1, 1
		}
		c := knowing(t, Options{Retries: retries}, b, s)
		s.On("GET manifest v1", registrytest.Status(502, ""))
		if _, err := c.Manifest(t.Context(), in(s), "v1"); !errors.Is(err, ErrServer) {
			t.Error(err)
		}
		if got, want := s.Count("GET manifest"), max(retries, 0)+1; got != want {
			t.Errorf("%d retries: asked %d times, want %d", retries, got, want)
		}
		s.Blob("a/b", []byte(layer))
		s.On("GET blob", registrytest.Cut(1))
		if _, err := readBlob(c, in(s), layer); err == nil && retries < 0 {
			t.Error("a body that breaks off is continued")
		}
		if got, want := s.Count("GET blob"), 1; retries < 0 && got != want {
			t.Errorf("%d retries: the blob was asked for %d times, want %d", retries, got, want)
		}
	}
}

// silent is a RoundTripper that never answers, and tells nobody what it does.
type silent struct{}

func (silent) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, context.Cause(req.Context())
}

// A Transport that isn't net/http's and never answers is given up as a registry is.
func TestATransportThatFallsSilentIsGivenUp(t *testing.T) {
	b := quick()
	b.answer = 10 * time.Millisecond
	c := newClient(Options{Transport: silent{}, Retries: -1}, b)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := c.ResolveManifest(ctx, ref.Repository{Host: "registry.example", Path: "a/b"}, "v1")
	if !errors.Is(err, ErrTimeout) || ctx.Err() != nil {
		t.Error(err)
	}
}

// A blob of unknown size that is compressed on the way is read once more for its size. Where that
// breaks off, it counts among the retries.
func TestCountingACompressedBlobHasTheRetriesThatAreWanted(t *testing.T) {
	for retries, want := range map[int]int{-1: 1, 2: 3} {
		s := registrytest.Start(t, registrytest.Options{})
		c := knowing(t, Options{Retries: retries}, quick(), s)
		d := s.Blob("a/b", []byte(layer))
		s.On("GET blob", registrytest.Cut(10), registrytest.Encode("gzip", false))
		if _, err := c.Blob(t.Context(), in(s), v1.Descriptor{Digest: d, Size: -1}); !errors.Is(err, ErrServer) {
			t.Error(err)
		}
		if got := s.Count("GET blob"); got != want {
			t.Errorf("%d retries: the blob was asked for %d times, want %d", retries, got, want)
		}
	}
}

// answering is a RoundTripper that gives one answer to everything.
type answering struct{ *http.Response }

func (a answering) RoundTrip(*http.Request) (*http.Response, error) { return a.Response, nil }

// A Transport that leaves the Body out, as fakes do, gives an empty one. One that gives nothing at
// all is an error.
func TestATransportMayLeaveTheBodyOut(t *testing.T) {
	for _, c := range []struct {
		answer *http.Response
		has    bool
		err    error
	}{
		{&http.Response{StatusCode: http.StatusOK}, true, nil},
		{&http.Response{StatusCode: http.StatusNotFound}, false, nil},
		{nil, false, ErrServer},
	} {
		client := newClient(Options{Transport: answering{c.answer}, Retries: -1}, quick())
		defer client.Close()
		has, err := client.HasBlob(t.Context(), ref.Repository{Host: "registry.example", Path: "a/b"}, digest.FromString(layer))
		if has != c.has || !errors.Is(err, c.err) {
			t.Errorf("%+v: %v, %v", c.answer, has, err)
		}
	}
}

// Bounds of less than nothing are the usual ones.
func TestNegativeBoundsAreTheUsualOnes(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Blob("a/b", []byte(layer))
	c := knowing(t, Options{Downloads: -1, Uploads: -1}, quick(), s)
	if got, err := readBlob(c, in(s), layer); got != layer || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := sendBlob(t.Context(), c, in(s), "another"); err != nil {
		t.Error(err)
	}
}

// An error of a Transport that isn't known here says nothing of the registry, which can't be reached
// then. One that is known keeps its kind.
func TestAnUnknownErrorOfATransportIsUnreachable(t *testing.T) {
	for cause, want := range map[error]error{
		errors.New("no tunnel"): ErrUnreachable,
		io.ErrUnexpectedEOF:     ErrServer,
		os.ErrDeadlineExceeded:  ErrTimeout,
	} {
		c := newClient(Options{Transport: failing{cause}, Retries: -1}, quick())
		_, err := c.Manifest(t.Context(), ref.Repository{Host: "r.example", Path: "a/b"}, "v1")
		var e *Error
		if !errors.As(err, &e) || e.Kind != want || !errors.Is(err, cause) {
			t.Errorf("%v: %v", cause, err)
		}
		c.Close()
	}
}

// failing is a RoundTripper that ends with an error.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// deaf is a RoundTripper that doesn't return from the cancellation of a session before it is let,
// whatever its context says.
type deaf struct {
	http.RoundTripper
	let chan struct{}
}

func (d deaf) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodDelete {
		<-d.let
	}
	return d.RoundTripper.RoundTrip(req)
}

// Close ends although a Transport ignores contexts, and says what it leaves.
func TestCloseEndsWhateverATransportDoes(t *testing.T) {
	s, _ := newFixture(t)
	s.On("PUT upload", registrytest.Status(403, ""))
	own := deaf{&http.Transport{}, make(chan struct{})}
	defer own.RoundTripper.(*http.Transport).CloseIdleConnections()
	var log bytes.Buffer
	b := quick()
	b.closing = 10 * time.Millisecond
	c := newClient(Options{Transport: own, PlainHTTP: []string{s.Host}, Logger: slog.New(slog.NewTextHandler(&log, nil))}, b)
	if _, err := push(c, s, layer, Push{Absent: true}); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
	c.Close()
	if !strings.Contains(log.String(), "sessions=1") {
		t.Errorf("told %q", &log)
	}
	close(own.let)
	c.bounds.closing = time.Minute
	c.Close()
	if s.Count("DELETE upload") != 1 {
		t.Errorf("asked %q", s.Asked())
	}
}
