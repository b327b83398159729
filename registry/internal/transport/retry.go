package transport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// DefaultPauses are what is waited between attempts where the server names no time.
// Together they are short: a person waits for a file.
var DefaultPauses = []time.Duration{200 * time.Millisecond, 600 * time.Millisecond, 1800 * time.Millisecond}

// Retry repeats GET and HEAD requests, and those that have Plan.Repeats, when they
// failed in a way that may pass: isPassingStatus and isPassingError say which these
// are, and a connection that was refused is tried once more. A Retry-After is kept
// to, by all requests to the host that asked for it, as long as all waits of one
// request stay within MaxWait; beyond that the answer is given back at once.
type Retry struct {
	Next    http.RoundTripper
	MaxWait time.Duration
	Pauses  []time.Duration // between attempts; nil: DefaultPauses

	mu    sync.Mutex
	asked map[string]asked // by host
}

// asked is a wait that a host asked for. One that is too long for a request is
// believed for farFor without asking again, as whoever runs the registry may end it
// at any time.
type asked struct{ until, told time.Time }

const farFor = 2 * time.Second

// spread is how far apart those are let go, at most, who waited for the same moment.
const spread = 100 * time.Millisecond

// Throttled is of a request that wasn't sent, as its host had just asked for a
// longer wait than is allowed.
type Throttled struct {
	Host string
	Wait time.Duration
}

func (e *Throttled) Error() string {
	return fmt.Sprintf("%s asks to wait %s", e.Host, e.Wait.Round(time.Second))
}

// held says how long a request to a host has to wait, as the host told another. left
// is how long it may.
func (t *Retry) held(host string, left time.Duration) (time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.asked[host]
	wait := time.Until(a.until)
	switch {
	case !ok:
		return 0, nil
	case wait <= 0:
		delete(t.asked, host)
		return 0, nil
	case wait <= left:
		return wait + rand.N(spread), nil
	case time.Since(a.told) < farFor:
		return 0, &Throttled{host, wait}
	}
	return 0, nil
}

// hold remembers that a host asked for a wait.
func (t *Retry) hold(host string, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asked == nil {
		t.asked = map[string]asked{}
	}
	t.asked[host] = asked{time.Now().Add(wait), time.Now()}
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
		wait, err := t.held(req.URL.Host, maxWait-waited)
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
			t.hold(req.URL.Host, pause)
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
