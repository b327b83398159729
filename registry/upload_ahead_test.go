package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// written is a Growing in memory.
type written struct {
	*strings.Reader
	mu      sync.Mutex
	size    int
	whole   bool
	changed chan struct{}
	closed  int
}

func newWritten(content string, size int) *written {
	return &written{Reader: strings.NewReader(content), size: size, changed: make(chan struct{})}
}

// write has so many bytes be there, and, if they are all, no more to come.
func (w *written) write(size int, whole bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size, w.whole = size, whole
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *written) Grown() (int64, bool, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(w.size), !w.whole, w.changed
}

func (w *written) Close() error { w.closed++; return nil }

// arrives is closed when n bytes of the first stream have come to the registry.
func (s *fixture) arrives(n int) <-chan struct{} {
	come := make(chan struct{})
	s.Nth(1, "PATCH upload", registrytest.Look(func(x *registrytest.Exchange) {
		x.Request.Body = &counted{x.Request.Body, n, come}
	}))
	return come
}

type counted struct {
	io.ReadCloser
	left int
	come chan struct{}
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if was := c.left; was > 0 {
		if c.left -= n; c.left <= 0 {
			close(c.come)
		}
	}
	return n, err
}

// streamed is a fixture whose registry takes a blob as docker sends it.
func streamed(t *testing.T) (*fixture, *Client) {
	s, c := newFixture(t)
	s.Change(func(tr *registrytest.Traits) { tr.Streamed = true })
	return s, c
}

type sentAhead struct {
	*Ahead
	err error
}

// ahead sends what w has, until there is no more of it.
func (s *fixture) ahead(ctx context.Context, c *Client, w *written, d digest.Digest, p Push) <-chan sentAhead {
	got := make(chan sentAhead, 1)
	go func() {
		a, err := c.PushAhead(ctx, s.repo, d, w, p)
		if w.closed != 1 {
			s.t.Errorf("the source was closed %d times", w.closed)
		}
		got <- sentAhead{a, err}
	}()
	return got
}

// Behaviour: push.ahead
func TestABlobIsSentWhileItIsWritten(t *testing.T) {
	s, c := streamed(t)
	w, come := newWritten(blob, 4), s.arrives(4)
	got := s.ahead(t.Context(), c, w, digest.FromString(blob), Push{})
	<-come
	w.write(7, false)
	w.write(10, true)
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	if s.ReadBlob(s.repo.Path, digest.FromString(blob)) != nil {
		t.Error("it is seen before it was pushed")
	}
	if done, err := push(c, s, blob, Push{Ahead: a.Ahead}); err != nil || done.Sent != 10 {
		t.Errorf("%+v, %v", done, err)
	}
	s.has(blob)
	s.want(c, "HEAD blob", "POST upload", "PATCH upload", "PUT upload")
	a.Cancel() // which nothing is left of
	s.want(c, "HEAD blob", "POST upload", "PATCH upload", "PUT upload")
}

func TestABlobThatIsThereIsNotSentAhead(t *testing.T) {
	s, c := streamed(t)
	s.Blob(s.repo.Path, []byte(blob))
	a := <-s.ahead(t.Context(), c, newWritten(blob, 4), digest.FromString(blob), Push{})
	if a.err != nil {
		t.Fatal(a.err)
	}
	if done, err := push(c, s, blob, Push{Ahead: a.Ahead}); err != nil || done != (Pushed{Existed: true}) {
		t.Errorf("%+v, %v", done, err)
	}
	s.want(c, "HEAD blob")
}

// A body that waits for its writer isn't silent, but it isn't held open for ever
// either. What comes later goes in parts.
//
// Behaviour: push.ahead
func TestABodyThatWaitsLongForItsWriterEnds(t *testing.T) {
	s, _ := streamed(t)
	c := newClient(Options{PlainHTTP: []string{s.repo.Host}}, bounds{idle: 300 * time.Millisecond, answer: time.Minute, quiet: time.Second, piece: 3})
	t.Cleanup(c.Close)
	w := newWritten(blob, 4)
	more := make(chan struct{}, 10)
	s.On("PATCH upload", registrytest.DoneBut(registrytest.Look(func(*registrytest.Exchange) { more <- struct{}{} })))
	got := s.ahead(t.Context(), c, w, digest.FromString(blob), Push{Absent: true})
	<-more
	w.write(6, false) // too little to be worth a request
	w.write(8, false)
	<-more
	w.write(10, true)
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	if done, err := push(c, s, blob, Push{Ahead: a.Ahead}); err != nil || done.Sent != 10 {
		t.Errorf("%+v, %v", done, err)
	}
	s.has(blob)
	s.want(c, "POST upload", "PATCH upload", "PATCH upload 4-7", "PATCH upload 8-9", "PUT upload")
}

func TestWhoWaitsForAPlaceIsGivenThatOfASlowWriter(t *testing.T) {
	s, _ := streamed(t)
	c := s.client(t, Options{Uploads: 1})
	w, come := newWritten(blob, 4), s.arrives(4)
	got := s.ahead(t.Context(), c, w, digest.FromString(blob), Push{Absent: true})
	<-come
	other := strings.Repeat(blob, 2)
	if _, err := push(c, s, other, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(other)
	w.write(10, true)
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	if _, err := push(c, s, blob, Push{Ahead: a.Ahead}); err != nil {
		t.Error(err)
	}
	s.has(blob)
}

// A blob that is written slowly waits for a place until it is whole, and no longer.
func TestWithoutAPlaceNothingIsSentAhead(t *testing.T) {
	s, _ := streamed(t)
	c := s.client(t, Options{Uploads: 1})
	release, err := c.uploads.take(t.Context(), s.repo.Host)
	if err != nil {
		t.Fatal(err)
	}
	w := newWritten(blob, 4)
	got := s.ahead(t.Context(), c, w, digest.FromString(blob), Push{Absent: true})
	w.write(10, true)
	a := <-got
	release()
	if a.err != nil {
		t.Fatal(a.err)
	}
	if _, err := push(c, s, blob, Push{Ahead: a.Ahead}); err != nil {
		t.Error(err)
	}
	s.has(blob)
	s.want(c, "POST upload", "PUT upload")
}

// What isn't taken so is pushed as a whole, and so is the next, at once.
//
// Behaviour: push.ahead
func TestARegistryThatTakesNoStreamGetsWholeBlobs(t *testing.T) {
	quirks := map[string]registrytest.Quirk{"a reset": registrytest.Take(2), "no sense": registrytest.Status(202, "", "Location", "http://[::1")}
	for _, status := range []int{400, 404, 405, 411, 413, 415, 416, 500, 501, 503} {
		quirks[fmt.Sprint(status)] = registrytest.Status(status, "")
	}
	for name, quirk := range quirks {
		t.Run(name, func(t *testing.T) {
			s, c := streamed(t)
			c.bounds.quiet = 100 * time.Millisecond // a server in Go says nothing before it has read some of the body
			refused := s.On("PATCH upload", quirk)
			w := newWritten(blob, 4)
			a := <-s.ahead(t.Context(), c, w, digest.FromString(blob), Push{Absent: true})
			if a.err == nil {
				t.Fatal("it was taken")
			}
			if got := strings.Join(s.requests(c), ", "); got != "POST upload, PATCH upload, "+cancelled {
				t.Errorf("asked %s", got)
			}
			refused.End()
			s.Forget()
			again := <-s.ahead(t.Context(), c, newWritten(blob, 4), digest.FromString(blob), Push{Absent: true})
			if !errors.Is(again.err, ErrNotAhead) {
				t.Errorf("the next: %v", again.err)
			}
			if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
				t.Error(err)
			}
			s.has(blob)
			s.want(c, "POST upload", "PUT upload")
		})
	}
}

// A session that doesn't go on is no reason for the push to fail.
func TestABlobIsSentAnewWhereWhatWasSentAheadIsLost(t *testing.T) {
	for name, quirk := range map[string]registrytest.Quirk{
		"gone": registrytest.Refuse(404, "BLOB_UPLOAD_UNKNOWN"), "spoilt": registrytest.SpoilSession(),
	} {
		t.Run(name, func(t *testing.T) {
			s, c := streamed(t)
			first, come := newWritten(blob, 4), s.arrives(4)
			got := s.ahead(t.Context(), c, first, digest.FromString(blob), Push{Absent: true})
			<-come
			first.write(10, true)
			a := <-got
			if a.err != nil {
				t.Fatal(a.err)
			}
			s.Nth(1, "PUT upload", quirk)
			if _, err := push(c, s, blob, Push{Ahead: a.Ahead}); err != nil {
				t.Errorf("%v: asked %q", err, s.requests(c))
			}
			s.has(blob)
		})
	}
}

// What turns out to be more than the blob was never of it.
func TestABlobThatBecameShorterIsSentAnew(t *testing.T) {
	s, c := streamed(t)
	w, come := newWritten(blob, 4), s.arrives(4)
	got := s.ahead(t.Context(), c, w, digest.FromString(blob[:2]), Push{Absent: true})
	<-come
	w.write(4, true)
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	if _, err := push(c, s, blob[:2], Push{Ahead: a.Ahead}); err != nil {
		t.Error(err)
	}
	s.has(blob[:2])
	s.want(c, "POST upload", "PATCH upload", "POST upload", "PUT upload", "DELETE upload")
}

func TestBytesThatAreNotTheBlobsAreCorruptAhead(t *testing.T) {
	s, c := streamed(t)
	d := digest.FromString("other")
	w, come := newWritten(blob, 4), s.arrives(4)
	got := s.ahead(t.Context(), c, w, d, Push{Absent: true})
	<-come
	w.write(10, true)
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	if _, err := pushAs(t.Context(), c, s, blob, d, Push{Ahead: a.Ahead}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	if s.requests(c); s.Sessions() != 0 {
		t.Errorf("%d sessions are left", s.Sessions())
	}
}

// Whatever ends it, nothing is left at the registry, and no goroutine here.
//
// Behaviour: push.abandon
func TestWhatWasSentAheadIsCancelled(t *testing.T) {
	for name, end := range map[string]func(cancel func(), w *written, got <-chan sentAhead) error{
		"interrupted": func(cancel func(), _ *written, got <-chan sentAhead) error {
			cancel()
			if a := <-got; !errors.Is(a.err, context.Canceled) {
				return fmt.Errorf("got %v, %w", a.Ahead, a.err)
			}
			return nil
		},
		"not wanted": func(_ func(), w *written, got <-chan sentAhead) error {
			w.write(10, true)
			a := <-got
			if a.err == nil {
				a.Cancel()
			}
			return a.err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := streamed(t)
			s.Change(func(tr *registrytest.Traits) { tr.Stuck = true })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w, come := newWritten(blob, 4), s.arrives(4)
			got := s.ahead(ctx, c, w, digest.FromString(blob), Push{Absent: true})
			<-come
			if err := end(cancel, w, got); err != nil {
				t.Error(err)
			}
			s.want(c, "POST upload", "PATCH upload", "DELETE upload")
			if n := s.Sessions(); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
			next := newWritten(blob, 4)
			next.whole = true
			if a := <-s.ahead(t.Context(), c, next, digest.FromString(blob), Push{Absent: true}); errors.Is(a.err, ErrNotAhead) {
				t.Error("it was taken for the registry's fault")
			}
		})
	}
}

// A credential that is over is renewed, and the body begins anew.
//
// Behaviour: auth.again
func TestAStreamThatIsChallengedBeginsAnew(t *testing.T) {
	s, _ := streamed(t)
	c := s.client(t, Options{Credentials: always{Username: "u", Password: "p"}})
	c.bounds.quiet = 100 * time.Millisecond // as above
	s.Nth(1, "PATCH upload", registrytest.Challenge(`Basic realm="x"`))
	w := newWritten(blob, 4)
	come := make(chan struct{})
	s.Nth(2, "PATCH upload", registrytest.Look(func(x *registrytest.Exchange) { x.Request.Body = &counted{x.Request.Body, 4, come} }))
	got := s.ahead(t.Context(), c, w, digest.FromString(blob), Push{Absent: true})
	<-come
	w.write(10, true)
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	src := &bytesSource{Reader: strings.NewReader(blob)}
	if _, err := c.PushBlob(t.Context(), s.repo, v1.Descriptor{Digest: digest.FromString(blob), Size: 10}, src.open, Push{Ahead: a.Ahead}); err != nil {
		t.Error(err)
	}
	s.has(blob)
}
