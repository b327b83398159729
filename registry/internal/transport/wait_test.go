package transport

import (
	"errors"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// Chance only makes a pause longer: what a server asked for, or what is usual, is the
// least.
//
// Behaviour: rate.retry-after, fail.backoff
func TestChanceOnlyMakesPausesLonger(t *testing.T) {
	pauses := []time.Duration{10 * time.Second, 30 * time.Second}
	busy := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"7"}}}
	for range 500 {
		if pause, asked, again := wantsAgain(busy, nil, 0, pauses); !again || !asked || pause < 7*time.Second || pause > 7*time.Second+spread {
			t.Fatalf("%s, %v, %v", pause, asked, again)
		}
		for attempt, least := range pauses {
			if pause, asked, again := wantsAgain(&http.Response{StatusCode: 502}, nil, attempt, pauses); !again || asked || pause < least || pause > least+least/4+1 {
				t.Fatalf("%s, %v, %v", pause, asked, again)
			}
		}
	}
}

// What may pass is tried again, what won't isn't.
//
// Behaviour: fail.backoff
func TestWhatMayPassIsTriedAgain(t *testing.T) {
	pauses := []time.Duration{1, 1}
	for status := 200; status < 600; status++ {
		want := status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504 ||
			status == 499 || status >= 520 && status <= 524
		if _, _, again := wantsAgain(&http.Response{StatusCode: status}, nil, 0, pauses); again != want {
			t.Errorf("%d is tried again: %v", status, again)
		}
	}
	for _, err := range []error{syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.EPIPE} {
		if _, _, again := wantsAgain(nil, err, 0, pauses); !again {
			t.Errorf("%v isn't tried again", err)
		}
	}
	for _, err := range []error{errors.New("x509"), ErrStalled, ErrLate, ErrAddress} {
		if _, _, again := wantsAgain(nil, err, 0, pauses); again {
			t.Errorf("%v is tried again", err)
		}
	}
	if _, _, again := wantsAgain(&http.Response{StatusCode: 502}, nil, len(pauses), pauses); again {
		t.Error("it has no end")
	}
}

// A wait until a date is by the clock of whoever names it.
//
// Behaviour: rate.retry-after
func TestAWaitIsByTheServersClock(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour, 24 * 365 * time.Hour} {
		now := time.Now().Add(ahead).UTC()
		h := http.Header{"Date": {now.Format(http.TimeFormat)}, "Retry-After": {now.Add(5 * time.Second).Format(http.TimeFormat)}}
		if wait, ok := RetryAfter(h); !ok || wait != 5*time.Second {
			t.Errorf("a clock that is %s ahead: %s, %v", ahead, wait, ok)
		}
	}
	for _, date := range []string{"", "now", "2026-01-02T03:04:05Z"} {
		if wait, ok := RetryAfter(http.Header{"Date": {date}, "Retry-After": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}}); !ok || wait < 59*time.Minute || wait > time.Hour {
			t.Errorf("Date %q: %s, %v", date, wait, ok)
		}
	}
}
