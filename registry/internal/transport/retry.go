package transport

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DefaultPauses are the waits between attempts where the server names no time. Together they are
// short: a person waits for a file.
var DefaultPauses = []time.Duration{200 * time.Millisecond, 600 * time.Millisecond, 1800 * time.Millisecond}

// Retry repeats GET and HEAD requests, and those that have Plan.Repeats, when they
// failed in a way that may pass: isPassingStatus and isPassingError say which these
// are, and a connection that was refused is tried once more. A Retry-After is kept
// to, by all requests to the host that asked for it, as long as all waits of one
// request stay within MaxWait; beyond that the answer is given back at once.
type Retry struct {
	Next    http.RoundTripper
	MaxWait time.Duration   // of all waits of one request together
	Pauses  []time.Duration // between attempts; nil: DefaultPauses
	// Retried is told that a request to a host is sent again, and the reason; nil: nobody is
	// told.
	Retried func(host, reason string)

	mu     sync.Mutex       // guards delays; no other lock is taken under it
	delays map[string]delay // by the host that asked for it; nil: none yet
}

// delay is a wait that a host asked for by Retry-After.
type delay struct {
	until time.Time // its end
	since time.Time // when the host asked for it
}

// longDelayFor is how long a delay is believed that is longer than a request may wait. Then the
// host is asked again, as whoever runs it may end the delay at any time.
const longDelayFor = 2 * time.Second

// spread is how far apart requests are sent, at most, that waited for the same moment.
const spread = 100 * time.Millisecond

// Throttled is the error of a request that wasn't sent, because its host had just asked for a
// longer wait than is allowed.
type Throttled struct {
	Host string
	Wait time.Duration
}

func (e *Throttled) Error() string {
	return fmt.Sprintf("%s asks to wait %s", e.Host, e.Wait.Round(time.Second))
}

// delay gives how long a request to a host has to wait, as the host told another request. most is
// how long it may.
func (t *Retry) delay(host string, most time.Duration) (time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d, ok := t.delays[host]
	wait := time.Until(d.until)
	switch {
	case !ok || wait <= 0:
		return 0, nil
	case wait <= most:
		return wait + rand.N(spread), nil
	case time.Since(d.since) < longDelayFor:
		return 0, &Throttled{host, wait}
	}
	return 0, nil
}

// setDelay remembers that a host asked for a wait, and drops the delays that are over.
func (t *Retry) setDelay(host string, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.delays == nil {
		t.delays = map[string]delay{}
	}
	now := time.Now()
	maps.DeleteFunc(t.delays, func(_ string, d delay) bool { return now.After(d.until) })
	t.delays[host] = delay{until: now.Add(wait), since: now}
}

// repeatable gives where to count the repeats of a request, or nil where there must
// be none.
func repeatable(req *http.Request) *int {
	if repeats := PlanOf(req.Context()).Repeats; repeats != nil && canRewind(req) {
		return repeats
	}
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		return new(int)
	}
	return nil
}

func canRewind(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// Rewind gives a request that is sent once more its body anew.
func Rewind(req *http.Request) error {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	if req.GetBody == nil {
		return errors.New("the request's body can't be sent again")
	}
	body, err := req.GetBody()
	if err != nil {
		return err
	}
	req.Body = body
	return nil
}

// RoundTrip sends the request until an answer is final.
func (t *Retry) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, repeats := req.Context(), repeatable(req)
	pauses, maxWait := t.Pauses, t.MaxWait
	if pauses == nil {
		pauses = DefaultPauses
	}
	plan := PlanOf(ctx)
	if plan.Hurried {
		pauses, maxWait = pauses[:min(len(pauses), 1)], min(maxWait, hurryWait)
	}
	var waited time.Duration
	for attempt := 0; ; attempt++ {
		if attempt > 0 {
			if err := Rewind(req); err != nil {
				return nil, err
			}
			*repeats++
		}
		wait, err := t.delay(req.URL.Host, maxWait-waited)
		if err == nil && wait > 0 {
			waited += wait
			err = Sleep(ctx, wait)
		}
		if err != nil {
			if req.Body != nil {
				req.Body.Close()
			}
			return nil, err
		}
		resp, err := t.Next.RoundTrip(req)
		pause, asked, again := wantsAgain(resp, err, attempt, pauses)
		if asked {
			t.setDelay(req.URL.Host, pause)
		}
		if refused := errors.Is(err, syscall.ECONNREFUSED) && plan.Once; refused || !again || waited+pause > maxWait || repeats == nil {
			return resp, err
		}
		if resp != nil {
			Aside(resp)
		}
		if err := Sleep(ctx, pause); err != nil {
			return nil, err
		}
		waited += pause
		if t.Retried != nil {
			reason := AgainAfter(err)
			if err == nil {
				reason = againAfterAnswer(resp, asked)
			}
			t.Retried(strings.ToLower(req.URL.Host), reason)
		}
	}
}

// wantsAgain says whether to try again, and after how long, and whether it was the
// server that asked for that time.
func wantsAgain(resp *http.Response, err error, attempt int, pauses []time.Duration) (pause time.Duration, asked, again bool) {
	if err == nil && (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable) {
		if pause, asked = RetryAfter(resp.Header); asked {
			return pause + rand.N(spread), true, attempt < len(pauses)
		}
	}
	if attempt >= len(pauses) {
		return 0, false, false
	}
	// Jitter only makes a pause longer: what a server asked for is the least.
	pause = pauses[attempt]
	pause += rand.N(pause/4 + 1)
	switch {
	case err != nil && errors.Is(err, syscall.ECONNREFUSED):
		return pause, false, attempt == 0
	case err != nil:
		return pause, false, isPassingError(err)
	}
	return pause, false, isPassingStatus(resp.StatusCode)
}

// maxAsked is the longest wait that is understood: nobody waits for it, and it
// can be reckoned with.
const maxAsked = 365 * 24 * time.Hour

// RetryAfter gives the wait that an answer asks for: by the server's own clock, where
// it tells that, as it may differ from ours.
func RetryAfter(h http.Header) (time.Duration, bool) {
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return ParseRetryAfter(h.Get("Retry-After"), now)
}

// ParseRetryAfter reads both forms of Retry-After (RFC 9110, section 10.2.3). What
// is longer than maxAsked is that.
func ParseRetryAfter(v string, now time.Time) (time.Duration, bool) {
	v = strings.TrimSpace(v)
	n, err := strconv.ParseUint(v, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(n, uint64(maxAsked/time.Second))) * time.Second, true
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(0, at.Sub(now)), maxAsked), true
	}
	return 0, false
}

// Sleep waits as long as ctx lets it.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
