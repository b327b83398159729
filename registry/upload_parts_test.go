package registry

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// inSmallParts is a client whose parts have 16 bytes, or fewer down to 1.
func inSmallParts(t *testing.T, s *fixture) *Client {
	t.Helper()
	c := newClient(Options{PlainHTTP: []string{s.repo.Host}, RetryMaxWait: 2 * time.Second},
		bounds{idle: time.Minute, answer: time.Minute, pauses: []time.Duration{1, 1, 1}, chunk: 16, least: 1, quiet: time.Minute, piece: 1})
	t.Cleanup(c.Close)
	return c
}

// GHCR takes at most 4 MiB in a part, and says 416 of a larger one, proxies say 413: smaller parts
// go on from where the session is. The next blob that breaks off goes on in such parts at once,
// and is tried in one piece first all the same.
//
// Behaviour: push.part-size
func TestAPartThatIsTooLargeGoesOnInSmallerOnes(t *testing.T) {
	const content = "0123456789abcdef"
	for name, refuse := range map[string]registrytest.Traits{
		"413":                     {PartMax: 4},
		"416, that says so":       {PartMax: 4, TooLarge: 416},
		"416, which says no word": {PartMax: 4, TooLarge: 416},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newFixture(t)
			s.Change(func(tr *registrytest.Traits) { tr.PartMax, tr.TooLarge = refuse.PartMax, refuse.TooLarge })
			if name == "416, which says no word" {
				s.On("PATCH upload", registrytest.Change(func(a *registrytest.Answer) {
					if a.Status == 416 {
						a.Body, a.Length = nil, 0
					}
				}))
			}
			c := inSmallParts(t, s)
			s.First(1, "PUT upload", registrytest.Take(3))
			if _, err := push(c, s, content, Push{}); err != nil {
				t.Fatal(err)
			}
			s.has(content)
			s.want(c, "HEAD blob", "POST upload", "PUT upload", "HEAD blob", "GET upload", "PATCH upload 3-15", "GET upload",
				"PATCH upload 3-5", "PATCH upload 6-8", "PATCH upload 9-11", "PATCH upload 12-14", "PATCH upload 15-15", "PUT upload")
			s.Forget()
			const next = "fedcba9876543210"
			s.First(1, "PUT upload", registrytest.Take(10))
			if _, err := push(c, s, next, Push{Absent: true}); err != nil {
				t.Fatal(err)
			}
			s.has(next)
			s.want(c, "POST upload", "PUT upload", "HEAD blob", "GET upload", "PATCH upload 10-12", "PATCH upload 13-15", "PUT upload")
		})
	}
}

// A blob that is too large in one piece goes in parts, and these become smaller until they are
// taken. That is remembered: the next one of that size is sent so at once.
//
// Behaviour: push.part-size
func TestABlobThatIsTooLargeInOnePieceGoesInParts(t *testing.T) {
	content := "0123456789abcdef0123"
	s, _ := newFixture(t)
	s.Change(func(tr *registrytest.Traits) { tr.PartMax = 5 })
	c := inSmallParts(t, s)
	s.On("PUT upload", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
		if x.ContentLength > 5 {
			return registrytest.Plain(413, "<html>")
		}
		return next()
	})
	if _, err := push(c, s, content, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(content)
	s.want(c, "POST upload", "PUT upload", "POST upload", "PATCH upload 0-15", "GET upload",
		"PATCH upload 0-3", "PATCH upload 4-7", "PATCH upload 8-11", "PATCH upload 12-15", "PATCH upload 16-19", "PUT upload", "DELETE upload")
	s.Forget()
	if _, err := push(c, s, "another of that size", Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	if got := s.requests(c); slices.Contains(got[:2], "PUT upload") || s.Count("PATCH upload") != 5 {
		t.Errorf("asked %q", got)
	}
}

// A registry that says 416 of every part, without a word, is one that takes no part as large as the
// smallest. One that says so of small blobs alone means something else.
//
// Behaviour: push.part-size
func TestAPartThatIsNotSatisfiableInAnySizeIsTooLarge(t *testing.T) {
	for content, want := range map[string]error{"0123456789abcdef0123": ErrTooLarge, "0": ErrServer} {
		s, _ := newFixture(t)
		c := inSmallParts(t, s)
		least := int64(math.MaxInt64)
		s.On("PUT upload", registrytest.Status(405, ""))
		s.On("PATCH upload", registrytest.Look(func(x *registrytest.Exchange) { least = min(least, x.ContentLength) }), registrytest.Status(416, ""))
		_, err := push(c, s, content, Push{Absent: true})
		var e *Error
		if !errors.Is(err, want) || !errors.As(err, &e) || e.Status != 416 || least != 1 {
			t.Errorf("%s: %v, after parts of %d bytes", content, err, least)
		}
	}
}

// Too large is said only after the smallest parts failed too.
//
// Behaviour: push.part-size
func TestTooLargeIsSaidAfterSmallerPartsFailed(t *testing.T) {
	s, _ := newFixture(t)
	c := inSmallParts(t, s)
	var sizes []string
	s.On("* upload", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
		if x.ContentLength > 0 {
			sizes = append(sizes, fmt.Sprint(x.Method, " ", x.ContentLength))
			return registrytest.Plain(413, "")
		}
		return next()
	})
	if _, err := push(c, s, "0123456789abcdef0123", Push{Absent: true}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if want := []string{"PUT 20", "PATCH 16", "PATCH 4", "PATCH 1"}; !slices.Equal(sizes, want) {
		t.Errorf("sent %q, want %q", sizes, want)
	}
}
