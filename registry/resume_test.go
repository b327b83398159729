package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// long is more than the buffers between here and there hold.
var long = strings.Repeat(blob, 1600<<10)

// What came is never sent into its session again: the rest goes on from there.
func TestABlobThatBreaksOffGoesOnWhereTheSessionStopped(t *testing.T) {
	s, c := newStore(t)
	s.on("PUT upload", 1, s.cut(1000))
	s.on("PATCH upload", 1, s.cut(500))
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

func TestABlobStartsAnewWhereItsSessionIsLost(t *testing.T) {
	for name, script := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"gone":        answer(404, code("BLOB_UPLOAD_UNKNOWN")),
		"no status":   answer(405, ""),
		"no Range":    answer(204, ""),
		"nothing":     answer(204, "", "Range", "0-0"),
		"too much":    answer(204, "", "Range", "0-99999999999"),
		"no sense":    answer(204, "", "Range", "bytes 5-1"),
		"an overflow": answer(204, "", "Range", "0-9223372036854775807"),
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newStore(t)
			s.on("PUT upload", 1, s.cut(1000))
			s.on("GET upload", 1, script)
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
		s, c := newStore(t)
		s.on("PUT upload", 1, s.cut(1000))
		s.on("PATCH upload", 0, answer(status, ""))
		if _, err := push(c, s, long, Push{Absent: true}); err != nil {
			t.Errorf("%d: %v: asked %q", status, err, s.requests(c))
		}
		s.has(long)
	}
}

// A registry that took something else than it says gets all of it, once more.
func TestABlobStartsAnewWhereTheSessionWasWrong(t *testing.T) {
	s, c := newStore(t)
	s.on("PUT upload", 1, s.cut(1000))
	s.on("PATCH upload", 1, func(_ http.ResponseWriter, req *http.Request) bool {
		b := s.sessions[sessionID(req)].String()
		s.sessions[sessionID(req)].Reset()
		s.sessions[sessionID(req)].WriteString("x" + b[1:])
		return false
	})
	if _, err := push(c, s, long, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(long)
}

// The answer of the closing PUT is often all that is lost.
func TestABlobThatArrivedIsNotSentAgain(t *testing.T) {
	after := func(s *store, then func(http.ResponseWriter, *http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, req *http.Request) bool {
			_, _ = io.Copy(io.Discard, req.Body)
			s.blobs[digest.FromString(blob).String()] = blob
			return then(w, req)
		}
	}
	for name, then := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"lost": hangUp, "unknown": answer(404, code("BLOB_UPLOAD_UNKNOWN")), "failed": answer(502, ""),
	} {
		t.Run(name+", in one piece", func(t *testing.T) {
			s, c := newStore(t)
			s.on("PUT upload", 1, after(s, then))
			if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
				t.Error(err)
			}
			if got := strings.Join(s.requests(c), ", "); !strings.HasPrefix(got, "POST upload, PUT upload, HEAD blob") || strings.Count(got, "POST") > 1 {
				t.Errorf("asked %s", got)
			}
		})
		t.Run(name+", in chunks", func(t *testing.T) {
			s, c := newStore(t)
			s.on("PUT upload", 1, answer(405, ""))
			s.on("PUT upload", 2, after(s, then))
			if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
				t.Error(err)
			}
			if s.asks("PATCH upload") != 3 || s.asks("PUT upload") != 2 || s.asks("HEAD blob") != 1 {
				t.Errorf("asked %q", s.requests(c))
			}
		})
	}
}

func TestAClosingThatFailsIsRepeated(t *testing.T) {
	s, c := newStore(t)
	s.on("PUT upload", 1, answer(405, ""))
	s.on("PUT upload", 2, answer(503, "", "Retry-After", "0"))
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(blob)
	if s.asks("PATCH upload") != 3 || s.asks("PUT upload") != 3 || s.asks("POST upload") != 2 {
		t.Errorf("asked %q", s.requests(c))
	}
}

// Progress makes good for what went wrong before.
func TestABlobThatBreaksOffOftenArrives(t *testing.T) {
	s, c := newStore(t)
	s.on("PUT upload", 1, s.cut(2*much))
	for i := 1; i <= 20; i++ {
		s.on("PATCH upload", i, s.cut(2*much))
	}
	if _, err := push(c, s, long, Push{Absent: true}); err != nil {
		t.Fatal(err)
	}
	s.has(long)
}

func TestAWaitThatIsTooLongIsNotWaitedFor(t *testing.T) {
	for _, kind := range []string{"HEAD blob", "POST upload", "PUT upload"} {
		s, c := newStore(t)
		s.on(kind, 0, answer(429, "", "Retry-After", "600"))
		began := time.Now()
		if _, err := push(c, s, blob, Push{}); !errors.Is(err, ErrTooManyRequests) || time.Since(began) > time.Second {
			t.Errorf("%s: after %s: %v", kind, time.Since(began), err)
		}
		if s.asks(kind) != 1 {
			t.Errorf("%s: asked %q", kind, s.requests(c))
		}
	}
}

func TestAShortWaitIsWaitedFor(t *testing.T) {
	s, c := newStore(t)
	s.on("PUT upload", 1, answer(429, "", "Retry-After", "1"))
	began := time.Now()
	if _, err := push(c, s, blob, Push{Absent: true}); err != nil || time.Since(began) < time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	s.has(blob)
}

func TestARegistryThatFailsThroughoutEndsIt(t *testing.T) {
	for _, kinds := range [][]string{{"HEAD blob", "POST upload"}, {"PUT upload"}, {"PUT upload", "GET upload", "HEAD blob"}, {"PUT upload", "GET upload", "HEAD blob", "DELETE upload"}} {
		s, c := newStore(t)
		for _, k := range kinds {
			s.on(k, 0, answer(500, ""))
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
	s, _ := newStore(t)
	s.limit = 200 * time.Millisecond
	c := s.client(t, Options{})
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	s.on("PUT upload", 0, func(http.ResponseWriter, *http.Request) bool {
		s.mu.Unlock()
		defer s.mu.Lock()
		<-over
		return true
	})
	began := time.Now()
	_, err := push(c, s, long, Push{Absent: true})
	if !errors.Is(err, ErrTimeout) || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func TestARegistryThatDoesNotAnswerIsATimeout(t *testing.T) {
	s, _ := newStore(t)
	s.limit = 200 * time.Millisecond
	c := s.client(t, Options{})
	s.on("PUT upload", 0, func(_ http.ResponseWriter, req *http.Request) bool {
		_, _ = io.Copy(io.Discard, req.Body)
		s.mu.Unlock()
		defer s.mu.Lock()
		<-req.Context().Done()
		return true
	})
	if _, err := push(c, s, blob, Push{Absent: true}); !errors.Is(err, ErrTimeout) {
		t.Error(err)
	}
}

// Whoever waits between two attempts is let go at once.
func TestAnInterruptedWaitEnds(t *testing.T) {
	s, c := newStore(t)
	c.bounds.pauses = []time.Duration{time.Hour}
	s.on("PUT upload", 1, answer(502, ""))
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := pushAs(ctx, c, s, blob, digest.FromString(blob), Push{Absent: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	s.want(c, "POST upload", "PUT upload", "DELETE upload")
}

// A registry that takes a byte of each part isn't fed for ever.
func TestARegistryThatTakesNextToNothingEndsIt(t *testing.T) {
	s, c := newStore(t)
	c.bounds.chunk = 1 << 20
	s.on("PUT upload", 1, answer(405, ""))
	s.on("PATCH upload", 0, func(w http.ResponseWriter, req *http.Request) bool {
		b, _ := io.ReadAll(req.Body)
		have := s.sessions[sessionID(req)]
		have.WriteString(string(b[:min(len(b), 2)]))
		s.told(w, sessionID(req), 202)
		return true
	})
	if _, err := push(c, s, long, Push{Absent: true}); !errors.Is(err, ErrServer) || s.asks("PATCH upload") > 2*maxShort {
		t.Errorf("%d parts: %v", s.asks("PATCH upload"), err)
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
