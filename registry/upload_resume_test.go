package registry

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// long is more than the buffers between here and there hold.
var long = strings.Repeat(blob, 1600<<10)

// begun is for tests that send a blob several times, and to which it is one whether a break shows while
// it is sent or afterwards.
var begun = long[:1<<20]

// What came is never sent into its session again: the rest goes on from there.
//
// Behaviour: push.resume
func TestABlobThatBreaksOffGoesOnWhereTheSessionStopped(t *testing.T) {
	s, c := newFixture(t)
	s.Nth(1, "PUT upload", registrytest.Take(1000))
	s.Nth(1, "PATCH upload", registrytest.Take(500))
	done, err := push(c, s, long, Push{Absent: true})
	if err != nil {
		t.Fatal(err)
	}
	s.has(long)
	last := strconv.Itoa(len(long) - 1)
	s.want(c, "POST upload", "PUT upload", "GET upload", "PATCH upload 1000-"+last, "GET upload", "PATCH upload 1500-"+last, "PUT upload")
	if done.Sent < int64(len(long)) {
		t.Errorf("%d bytes sent", done.Sent)
	}
}

// Behaviour: push.resume
func TestABlobStartsAnewWhereItsSessionIsLost(t *testing.T) {
	for name, script := range map[string]registrytest.Quirk{
		"gone":        registrytest.Refuse(404, "BLOB_UPLOAD_UNKNOWN"),
		"no status":   registrytest.Status(405, ""),
		"no Range":    registrytest.Status(204, ""),
		"nothing":     registrytest.Status(204, "", "Range", "0-0"),
		"too much":    registrytest.Status(204, "", "Range", "0-99999999999"),
		"no sense":    registrytest.Status(204, "", "Range", "bytes 5-1"),
		"an overflow": registrytest.Status(204, "", "Range", "0-9223372036854775807"),
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newFixture(t)
			s.Nth(1, "PUT upload", registrytest.Take(1000))
			s.Nth(1, "GET upload", script)
			if _, err := push(c, s, long, Push{Absent: true}); err != nil {
				t.Fatal(err)
			}
			s.has(long)
			got := strings.Join(s.requests(c), ", ")
			want := "POST upload, PUT upload, GET upload, HEAD blob, POST upload, PUT upload"
			if name != "gone" {
				want += ", " + cancelled
			}
			if got != want {
				t.Errorf("asked %s, want %s", got, want)
			}
		})
	}
}

// A registry that doesn't take the rest gets all of it, anew.
func TestABlobStartsAnewWhereItsRestIsRefused(t *testing.T) {
	for _, status := range []int{400, 404, 405, 416, 501} {
		s, c := newFixture(t)
		s.Nth(1, "PUT upload", registrytest.Take(1000))
		s.On("PATCH upload", registrytest.Status(status, ""))
		if _, err := push(c, s, begun, Push{Absent: true}); err != nil {
			t.Errorf("%d: %v: asked %q", status, err, s.requests(c))
		}
		s.has(begun)
	}
}

// A registry that took something else than it says gets all of it, once more.
func TestABlobStartsAnewWhereTheSessionWasWrong(t *testing.T) {
	s, c := newFixture(t)
	s.Nth(1, "PUT upload", registrytest.Take(1000))
	s.Nth(1, "PATCH upload", registrytest.SpoilSession())
	if _, err := push(c, s, begun, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(begun)
}

// The answer of the closing PUT is often all that is lost.
//
// Behaviour: push.closing
func TestABlobThatArrivedIsNotSentAgain(t *testing.T) {
	for name, then := range map[string]registrytest.Quirk{
		"lost": registrytest.Reset(), "unknown": registrytest.Refuse(404, "BLOB_UPLOAD_UNKNOWN"), "failed": registrytest.Status(502, ""),
	} {
		t.Run(name+", in one piece", func(t *testing.T) {
			s, c := newFixture(t)
			s.Nth(1, "PUT upload", registrytest.DoneBut(then))
			if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
				t.Error(err)
			}
			if got := strings.Join(s.requests(c), ", "); !strings.HasPrefix(got, "POST upload, PUT upload, HEAD blob") || strings.Count(got, "POST") > 1 {
				t.Errorf("asked %s", got)
			}
		})
		t.Run(name+", in chunks", func(t *testing.T) {
			s, c := newFixture(t)
			s.Nth(1, "PUT upload", registrytest.Status(405, ""))
			s.Nth(2, "PUT upload", registrytest.DoneBut(then))
			if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
				t.Error(err)
			}
			if s.Count("PATCH upload") != 3 || s.Count("PUT upload") != 2 || s.Count("HEAD blob") != 1 {
				t.Errorf("asked %q", s.requests(c))
			}
		})
	}
}

// Behaviour: push.closing
func TestAClosingThatFailsIsRepeated(t *testing.T) {
	s, c := newFixture(t)
	s.Nth(1, "PUT upload", registrytest.Status(405, ""))
	s.Nth(2, "PUT upload", registrytest.Status(503, "", "Retry-After", "0"))
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(blob)
	if s.Count("PATCH upload") != 3 || s.Count("PUT upload") != 3 || s.Count("POST upload") != 2 {
		t.Errorf("asked %q", s.requests(c))
	}
}

// Progress makes good for what went wrong before.
func TestABlobThatBreaksOffOftenArrives(t *testing.T) {
	s, c := newFixture(t)
	s.Nth(1, "PUT upload", registrytest.Take(2*much))
	s.First(20, "PATCH upload", registrytest.Take(2*much))
	if _, err := push(c, s, long, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(long)
}

func TestAWaitThatIsTooLongIsNotWaitedFor(t *testing.T) {
	for _, kind := range []string{"HEAD blob", "POST upload", "PUT upload"} {
		s, c := newFixture(t)
		s.On(kind, registrytest.Status(429, "", "Retry-After", "600"))
		began := time.Now()
		if _, err := push(c, s, blob, Push{}); !errors.Is(err, ErrTooManyRequests) || time.Since(began) > time.Second {
			t.Errorf("%s: after %s: %v", kind, time.Since(began), err)
		}
		if s.Count(kind) != 1 {
			t.Errorf("%s: asked %q", kind, s.requests(c))
		}
	}
}

func TestAShortWaitIsWaitedFor(t *testing.T) {
	s, c := newFixture(t)
	s.Nth(1, "PUT upload", registrytest.Status(429, "", "Retry-After", "1"))
	began := time.Now()
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil || time.Since(began) < time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	s.has(blob)
}

func TestARegistryThatFailsThroughoutEndsIt(t *testing.T) {
	for _, kinds := range [][]string{{"HEAD blob", "POST upload"}, {"PUT upload"}, {"PUT upload", "GET upload", "HEAD blob"}, {"PUT upload", "GET upload", "HEAD blob", "DELETE upload"}} {
		s, c := newFixture(t)
		for _, k := range kinds {
			s.On(k, registrytest.Status(500, ""))
		}
		if _, err := push(c, s, blob, Push{}); !errors.Is(err, ErrServer) {
			t.Errorf("%q: %v", kinds, err)
		}
		if n := len(s.requests(c)); n > 40 {
			t.Errorf("%q: %d requests", kinds, n)
		}
	}
}

func TestARegistryThatTakesNothingIsATimeout(t *testing.T) {
	s, _ := newFixture(t)
	s.limit = 200 * time.Millisecond
	c := s.client(t, Options{})
	s.On("PUT upload", registrytest.Hold(nil))
	began := time.Now()
	_, err := push(c, s, long, Push{Absent: true})
	if !errors.Is(err, ErrTimeout) || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func TestARegistryThatDoesNotAnswerIsATimeout(t *testing.T) {
	s, _ := newFixture(t)
	s.limit = 200 * time.Millisecond
	c := s.client(t, Options{})
	s.On("PUT upload", registrytest.Swallow())
	if _, err := push(c, s, blob, Push{Absent: true}); !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
}

// Whoever waits between two attempts is let go at once.
func TestAnInterruptedWaitEnds(t *testing.T) {
	s, c := newFixture(t)
	c.bounds.pauses = []time.Duration{time.Hour}
	s.Nth(1, "PUT upload", registrytest.Status(502, ""))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := pushAs(ctx, c, s, blob, digest.FromString(blob), Push{Absent: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	s.want(c, "POST upload", "PUT upload", "DELETE upload")
}

// A registry that takes a byte of each part isn't fed for ever.
func TestARegistryThatTakesNextToNothingEndsIt(t *testing.T) {
	s, c := newFixture(t)
	c.bounds.chunk = 1 << 20
	s.Nth(1, "PUT upload", registrytest.Status(405, ""))
	s.On("PATCH upload", registrytest.TakeOnly(2))
	if _, err := push(c, s, long, Push{Absent: true}); !errors.Is(err, ErrServer) || s.Count("PATCH upload") > 2*maxShort {
		t.Errorf("%d parts: %v", s.Count("PATCH upload"), err)
	}
}

func TestTheRangeOfASession(t *testing.T) {
	for in, want := range map[string]int64{"0-9": 10, "bytes=0-9": 10, " 0-1 ": 2} {
		if got, ok := parseSessionRange(in); !ok || got != want {
			t.Errorf("%q is %d, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "0", "0-", "0-0", "1-5", "0--5", "0-+5", "0-x", "5", "0-9223372036854775807", "0-99999999999999999999"} {
		if got, ok := parseSessionRange(in); ok {
			t.Errorf("%q is taken for %d", in, got)
		}
	}
}

func FuzzParseSessionRange(f *testing.F) {
	f.Add("0-9")
	f.Add("bytes=0-9223372036854775807")
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := parseSessionRange(s); ok && n < 2 {
			t.Errorf("%q is %d bytes", s, n)
		}
	})
}
