package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// clocked notes when requests arrive.
type clocked struct {
	mu sync.Mutex
	at []time.Time
}

func (c *clocked) look() registrytest.Quirk {
	return registrytest.Look(func(*registrytest.Exchange) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.at = append(c.at, time.Now())
	})
}

// times gives when they arrived.
func (c *clocked) times() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.at)
}

// date is the clock of a server that is so far ahead of ours.
func date(ahead time.Duration) string { return time.Now().Add(ahead).UTC().Format(http.TimeFormat) }

// A registry that is busy is asked again when it said, in seconds or by a date of its
// own clock, and not before.
//
// Behaviour: rate.retry-after
func TestARegistryThatIsBusyIsWaitedFor(t *testing.T) {
	wrong := func(status int, ahead time.Duration) registrytest.Quirk {
		return func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
			return registrytest.Status(status, "", "Date", date(ahead), "Retry-After", date(ahead+time.Second))(x, next)
		}
	}
	for name, busy := range map[string]registrytest.Quirk{
		"429":                 registrytest.Busy(429, time.Second),
		"503":                 registrytest.Busy(503, time.Second),
		"429, a date":         registrytest.BusyUntil(429, time.Second),
		"503, a date":         registrytest.BusyUntil(503, time.Second),
		"429, a clock ahead":  wrong(429, time.Hour),
		"503, a clock behind": wrong(503, -time.Hour),
	} {
		for what, read := range reads {
			t.Run(what+", "+name, func(t *testing.T) {
				t.Parallel()
				s := registrytest.Start(t, registrytest.Options{})
				s.Image("a/b", "v1", []byte(layer))
				var arrived clocked
				s.First(1, what, busy)
				s.On(what, arrived.look())
				c := knowing(t, Options{RetryMaxWait: time.Minute}, quick(), s)
				if err := read(c, in(s)); err != nil {
					t.Fatal(err)
				}
				// A date of whole seconds may be almost one nearer than it was meant.
				if at := arrived.times(); len(at) != 2 || at[1].Sub(at[0]) < time.Second {
					t.Errorf("asked at %v", at)
				}
			})
		}
	}
}

// What one is told all keep to: whatever else is asked of this host waits as long, and
// what is asked of others doesn't.
//
// Behaviour: rate.retry-after
func TestAllWaitForARegistryThatIsBusy(t *testing.T) {
	s, other := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	for _, s := range []*registrytest.Server{s, other} {
		s.Image("a/b", "v1", []byte(layer))
	}
	b := quick()
	b.pauses = []time.Duration{} // so that the first gives up at once
	c := knowing(t, Options{RetryMaxWait: time.Minute}, b, s, other)
	var told clocked
	busy := s.On("* *", told.look(), registrytest.Busy(429, 2*time.Second))
	if _, err := c.Manifest(context.Background(), in(s), "v1"); !errors.Is(err, ErrTooManyRequests) {
		t.Fatal(err)
	}
	busy.End()
	var arrived clocked
	s.On("* *", arrived.look())
	var all sync.WaitGroup
	for range 5 {
		for what, read := range reads {
			all.Go(func() {
				if err := read(c, in(s)); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
	}
	all.Go(func() {
		if _, err := sendBlob(context.Background(), c, ref.Repository{Host: s.Host, Path: "c"}, anyway); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.Manifest(context.Background(), in(other), "v1"); err != nil || other.Count("GET manifest") != 1 {
		t.Error(err)
	}
	all.Wait()
	for _, at := range arrived.times() {
		if wait := at.Sub(told.times()[0]); wait < 2*time.Second {
			t.Errorf("asked after %s", wait)
		}
	}
	if len(arrived.times()) != 22 {
		t.Errorf("%d requests", len(arrived.times()))
	}
}

// A wait that is longer than is allowed is an error at once, and nobody asks again so
// soon.
//
// Behaviour: rate.cap
func TestNobodyWaitsForTooLong(t *testing.T) {
	for _, value := range []string{"3600", "99999999999999999999", "date"} {
		for _, status := range []int{429, 503} {
			t.Run(fmt.Sprint(status, " ", value), func(t *testing.T) {
				s := registrytest.Start(t, registrytest.Options{})
				s.Image("a/b", "v1", []byte(layer))
				if value == "date" {
					value = date(time.Hour)
				}
				s.On("* *", registrytest.Status(status, "", "Retry-After", value))
				c := knowing(t, Options{RetryMaxWait: 30 * time.Second}, quick(), s)
				began := time.Now()
				for what, read := range reads {
					if err := read(c, in(s)); !errors.Is(err, ErrTooManyRequests) || !strings.Contains(err.Error(), "to wait") {
						t.Errorf("%s: %v", what, err)
					}
				}
				_, err := sendBlob(context.Background(), c, in(s), anyway)
				if !errors.Is(err, ErrTooManyRequests) {
					t.Error(err)
				}
				took := time.Since(began)
				if took > 20*time.Second {
					t.Errorf("it took %s", took)
				}
				// It is asked once in two seconds.
				if n := s.Count("* *"); n > 1+int(took/(2*time.Second)) {
					t.Errorf("asked %d times: %q", n, s.Asked())
				}
			})
		}
	}
}

// Waits that are short one by one are too long together.
//
// Behaviour: rate.cap
func TestWaitsAddUp(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("a/b", "v1", []byte(layer))
	s.On("* *", registrytest.Busy(429, time.Second))
	c := knowing(t, Options{RetryMaxWait: 1900 * time.Millisecond}, quick(), s)
	if _, err := c.Manifest(context.Background(), in(s), "v1"); !errors.Is(err, ErrTooManyRequests) || s.Count("* *") != 2 {
		t.Errorf("%v: %q", err, s.Asked())
	}
}

// A wait that nobody understands is none: there are the usual pauses.
//
// Behaviour: rate.retry-after
func TestAWaitOfNonsenseIsNone(t *testing.T) {
	for _, value := range []string{"", "soon", "-1", "1.5", "0"} {
		s := registrytest.Start(t, registrytest.Options{})
		s.Image("a/b", "v1", []byte(layer))
		s.First(1, "* *", registrytest.Status(429, "", "Retry-After", value))
		if _, err := knowing(t, Options{}, quick(), s).Manifest(context.Background(), in(s), "v1"); err != nil || s.Count("* *") != 2 {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// An upload that is told to wait by a clock that differs from ours waits as long as was
// meant.
//
// Behaviour: rate.retry-after
func TestAnUploadWaitsByTheServersClock(t *testing.T) {
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		s := registrytest.Start(t, registrytest.Options{})
		s.First(1, "PUT upload", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
			return registrytest.Status(429, "", "Date", date(ahead), "Retry-After", date(ahead+time.Second))(x, next)
		})
		var arrived clocked
		s.On("PUT upload", arrived.look())
		c := knowing(t, Options{RetryMaxWait: time.Minute}, quick(), s)
		if _, err := sendBlob(context.Background(), c, in(s), anyway); err != nil {
			t.Fatal(err)
		}
		if at := arrived.times(); len(at) != 2 || at[1].Sub(at[0]) < time.Second {
			t.Errorf("%s ahead: sent at %v", ahead, at)
		}
	}
}

// What Docker Hub tells of its limits is kept, the last that made sense, by whatever
// answer it came.
//
// Behaviour: rate.hub
func TestLimitsAreKept(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Image("a/b", "v1", []byte(layer))
	c := knowing(t, Options{}, quick(), s)
	if h := c.State(); len(h) != 0 {
		t.Errorf("before anything was asked: %+v", h)
	}
	for _, told := range []struct {
		limit, remaining, source string
		status                   int
		want                     *RateLimit
	}{
		{"", "", "", 200, nil},
		{"many", "few", "", 200, nil},
		{"100;w=21600", "", "", 200, nil},
		{"100;w=21600", "76;w=21600", "192.0.2.1", 200, &RateLimit{Limit: 100, Remaining: 76, Window: 21600, Source: "192.0.2.1"}},
		{"", "", "", 200, &RateLimit{Limit: 100, Remaining: 76, Window: 21600, Source: "192.0.2.1"}},
		{"-1;w=5", "-1;w=5", "x", 200, &RateLimit{Limit: 100, Remaining: 76, Window: 21600, Source: "192.0.2.1"}},
		{"100;w=21600", "0;w=21600", "jane", 429, &RateLimit{Limit: 100, Window: 21600, Source: "jane"}},
		{"200", "199", "", 404, &RateLimit{Limit: 200, Remaining: 199}},
	} {
		rule := s.On("HEAD manifest", registrytest.Change(func(a *registrytest.Answer) {
			a.Status = told.status
			for name, v := range map[string]string{"RateLimit-Limit": told.limit, "RateLimit-Remaining": told.remaining, "Docker-RateLimit-Source": told.source} {
				if v != "" {
					a.Header.Set(name, v)
				}
			}
		}))
		_, err := c.ResolveManifest(context.Background(), in(s), "v1")
		rule.End()
		if (err == nil) != (told.status == 200) {
			t.Errorf("%v: %v", told, err)
		}
		h := c.State()
		if len(h) != 1 || h[0].Host != s.Host || (h[0].Limit == nil) != (told.want == nil) {
			t.Errorf("%v: %+v", told, h)
			continue
		}
		if told.want != nil {
			got := *h[0].Limit
			if got.Seen.IsZero() || time.Since(got.Seen) > time.Hour {
				t.Errorf("seen at %s", got.Seen)
			}
			if got.Seen = (time.Time{}); got != *told.want {
				t.Errorf("%v: got %+v", told, got)
			}
		}
	}
	if _, err := c.ResolveBlob(context.Background(), in(s), digest.FromString(layer)); err != nil {
		t.Error(err)
	}
}

// The limits that a registry tells are numbers that can be, or none.
func FuzzParseLimit(f *testing.F) {
	for _, v := range []string{"100;w=21600", "200;w=21600", "76;w=21600", "100", " 5 ; w=60 ", "100;w=21600;burst=10", "-1", "", ";w=1", "1e3", "99999999999999999999", "5;w=-1", "5;W=1"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		n, window, ok := parseLimit(v)
		if n < 0 || window < 0 || !ok && (n != 0 || window != 0) {
			t.Errorf("%q is %d in %d s, %v", v, n, window, ok)
		}
	})
}
