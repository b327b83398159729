package registry

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// seenOnWire is an Observer that counts what it is told.
type seenOnWire struct {
	mu                   sync.Mutex
	exchanges            map[string]int // "host method status"
	retries              map[string]int // "host reason"
	downloaded, uploaded map[string]int // bytes by host
	asks                 map[string]int // requests by host
	negative             bool           // an exchange took less than no time
}

func observer() *seenOnWire {
	return &seenOnWire{exchanges: map[string]int{}, retries: map[string]int{}, downloaded: map[string]int{}, uploaded: map[string]int{}, asks: map[string]int{}}
}

func (s *seenOnWire) add(m map[string]int, k string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m[k] += n
}

func (s *seenOnWire) Exchanged(host, method string, status int, took time.Duration) {
	s.add(s.exchanges, fmt.Sprint(host, " ", method, " ", status), 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.negative = s.negative || took < 0
}

func (s *seenOnWire) Asks(host string)              { s.add(s.asks, host, 1) }
func (s *seenOnWire) Retried(host, reason string)   { s.add(s.retries, host+" "+reason, 1) }
func (s *seenOnWire) Downloaded(host string, n int) { s.add(s.downloaded, host, n) }
func (s *seenOnWire) Uploaded(host string, n int)   { s.add(s.uploaded, host, n) }
func (s *seenOnWire) counts(want, got map[string]int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Equal(want, got)
}

// asked gives what a registry counted, as seenOnWire does.
func asked(s *registrytest.Server) map[string]int {
	all := map[string]int{}
	for _, r := range s.Requests() {
		all[fmt.Sprint(r.Host, " ", r.Method, " ", r.Status)]++
	}
	return all
}

// An Observer is told of each request that the registry counts, with the same status: challenges,
// tokens, redirects and what is sent again too. The bytes of blobs are those that the registry sent
// and read.
func TestAnObserverCountsAsTheRegistry(t *testing.T) {
	s := registrytest.Start(t, janes(true))
	cdn := s.Elsewhere(t, registrytest.Options{})
	s.Image("a/b", "v1", []byte(layer))
	d := digest.FromString(layer)
	s.On("GET blob", registrytest.Presign(cdn, -1))
	s.First(1, "GET manifest", registrytest.Status(502, ""))
	s.First(1, "GET tags", registrytest.Busy(429, 0))
	o := observer()
	c := knowing(t, Options{Observer: o, Credentials: creds{"": jane}}, quick(), s, cdn)
	if _, err := c.Manifest(t.Context(), in(s), "v1"); err != nil {
		t.Fatal(err)
	}
	for _, err := range c.Tags(t.Context(), in(s)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := c.Blob(t.Context(), in(s), v1.Descriptor{Digest: d, Size: int64(len(layer))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, b); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, err := c.Manifest(t.Context(), in(s), "none"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	const pushed = "what is pushed"
	if _, err := sendBlob(t.Context(), c, in(s), pushed); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if want := asked(s); !o.counts(want, o.exchanges) || o.negative {
		t.Errorf("observed %v\nwant %v", o.exchanges, want)
	}
	// The host of a redirect is none that somebody named, though its settings are looked for.
	if _, redirected := o.asks[cdn.Host]; redirected || o.asks[s.Host] == 0 || len(o.asks) != 1 {
		t.Errorf("it is told of requests to %v, want those to %s alone", o.asks, s.Host)
	}
	if all := c.State(); len(all) != 1 || all[0].Host != s.Host {
		t.Errorf("the registries that were asked are %+v", all)
	}
	if want := (map[string]int{s.Host + " status": 1, s.Host + " throttled": 1}); !o.counts(want, o.retries) {
		t.Errorf("retries are %v, want %v", o.retries, want)
	}
	if want := (map[string]int{cdn.Host: len(layer)}); !o.counts(want, o.downloaded) {
		t.Errorf("downloaded %v, want %v", o.downloaded, want)
	}
	if want := (map[string]int{s.Host: len(pushed)}); !o.counts(want, o.uploaded) {
		t.Errorf("uploaded %v, want %v", o.uploaded, want)
	}
}

// A request without an answer has the status 0, and what broke off is a retry of the server that had
// it. Bytes that come or leave twice count twice.
func TestAnObserverIsToldOfWhatFails(t *testing.T) {
	content := strings.Repeat("0123456789", 100)
	for name, c := range map[string]struct {
		pattern  string
		quirk    registrytest.Quirk
		reason   string
		answered bool // the first request has an answer
	}{
		"a read without an answer":    {"GET blob", registrytest.Reset(), "broken", false},
		"a read that breaks off":      {"GET blob", registrytest.Cut(10), "broken", true},
		"a read that is cut short":    {"GET manifest", registrytest.Cut(10), "broken", true},
		"a list that is cut short":    {"GET tags", registrytest.Cut(2), "broken", true},
		"an upload without an answer": {"PUT upload", registrytest.Lost(), "broken", false},
		"an upload that is refused":   {"PUT upload", registrytest.Status(502, ""), "status", true},
		"an upload that is throttled": {"PUT upload", registrytest.Busy(429, 0), "throttled", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.Image("a/b", "v1", []byte(content))
			o := observer()
			cl := knowing(t, Options{Observer: o}, quick(), s)
			s.First(1, c.pattern, c.quirk)
			if _, err := cl.Manifest(t.Context(), in(s), "v1"); err != nil {
				t.Fatal(err)
			}
			for _, err := range cl.Tags(t.Context(), in(s)) {
				if err != nil {
					t.Fatal(err)
				}
			}
			b, err := cl.Blob(t.Context(), in(s), v1.Descriptor{Digest: digest.FromString(content), Size: int64(len(content))})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, b); err != nil {
				t.Fatal(err)
			}
			b.Close()
			if _, err := sendBlob(t.Context(), cl, in(s), content+"pushed"); err != nil {
				t.Fatal(err)
			}
			cl.Close()
			if want := (map[string]int{s.Host + " " + c.reason: 1}); !o.counts(want, o.retries) {
				t.Errorf("retries are %v, want %v", o.retries, want)
			}
			all, failed := 0, 0
			for k, n := range o.exchanges {
				all += n
				if strings.HasSuffix(k, " 0") {
					failed += n
				}
			}
			want := 1
			if c.answered {
				want = 0
			}
			if all != s.Count("* *") || failed != want {
				t.Errorf("%d requests are observed, %d of them without an answer; the registry was asked %q", all, failed, s.Asked())
			}
		})
	}
}

// Nobody listens: the request counts as one without an answer.
func TestAnObserverIsToldOfARegistryThatIsGone(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Gone()
	o := observer()
	c := knowing(t, Options{Observer: o}, quick(), s)
	if _, err := c.Manifest(t.Context(), in(s), "v1"); !errors.Is(err, ErrUnreachable) {
		t.Fatal(err)
	}
	c.Close()
	if want := (map[string]int{s.Host + " GET 0": 2}); !o.counts(want, o.exchanges) {
		t.Errorf("observed %v, want %v", o.exchanges, want)
	}
	if want := (map[string]int{s.Host + " refused": 1}); !o.counts(want, o.retries) {
		t.Errorf("retries are %v, want %v", o.retries, want)
	}
	s.Back()
}
