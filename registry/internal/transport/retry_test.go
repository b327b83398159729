package transport

import (
	"testing"
	"time"
)

// Both forms of Retry-After are read (RFC 9110, section 10.2.3), and nothing else.
func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, " 120 ": 2 * time.Minute,
		"Fri, 02 Jan 2026 03:04:35 GMT":  30 * time.Second,
		"Fri, 02 Jan 2026 03:00:00 GMT":  0, // it has passed
		"Fri, 31 Dec 9999 23:59:59 GMT":  maxAsked,
		"99999999999":                    maxAsked,
		"99999999999999999999999":        maxAsked,
		"Friday, 02-Jan-26 03:04:35 GMT": 30 * time.Second,
	} {
		if got, ok := ParseRetryAfter(in, now); !ok || got != want {
			t.Errorf("%q is %s, %v; want %s", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "-1", "1.5", "soon"} {
		if got, ok := ParseRetryAfter(in, now); ok {
			t.Errorf("%q is taken for %s", in, got)
		}
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Fri, 02 Jan 2026 03:04:35 GMT")
	f.Fuzz(func(t *testing.T, s string) {
		if d, ok := ParseRetryAfter(s, time.Now()); ok && d < 0 {
			t.Errorf("%q is %s", s, d)
		}
	})
}
