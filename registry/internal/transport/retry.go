package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
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

// Retry repeats GET and HEAD requests, and those that Repeatable marks, when they
// failed in a way that may pass: 408, 429, 500, 502, 503, 504, and connections that
// were reset or refused. A Retry-After is kept to as long as all waits of one request
// stay within MaxWait; beyond that the answer is given back at once.
type Retry struct {
	Next    http.RoundTripper
	MaxWait time.Duration
	Pauses  []time.Duration // between attempts; nil: DefaultPauses

	mu  sync.Mutex
	far map[string]far // hosts that asked for more than MaxWait, a moment ago
}

// far is a wait that is too long for us. It is believed for farFor without
// asking again, as whoever runs the registry may end it at any time.
type far struct{ until, told time.Time }

const farFor = 2 * time.Second

// Throttled is of a request that wasn't sent, as its host had just asked for a
// longer wait than is allowed.
type Throttled struct {
	Host string
	Wait time.Duration
}

func (e *Throttled) Error() string {
	return fmt.Sprintf("%s asks to wait %s", e.Host, e.Wait.Round(time.Second))
}

func (t *Retry) throttled(host string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f, ok := t.far[host]; ok && time.Since(f.told) < farFor && time.Now().Before(f.until) {
		return &Throttled{host, time.Until(f.until)}
	}
	return nil
}

type repeatKey struct{}

// Repeatable marks requests with this context as such that may be sent again, as
// that changes nothing. repeats is how often it was; with nil none is marked.
func Repeatable(ctx context.Context, repeats *int) context.Context {
	return context.WithValue(ctx, repeatKey{}, repeats)
}

// repeatable gives where to count the repeats of a request, or nil where there must
// be none.
func repeatable(req *http.Request) *int {
	if repeats, ok := req.Context().Value(repeatKey{}).(*int); ok && repeats != nil && canRewind(req) {
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
	if err := t.throttled(req.URL.Host); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	repeats := repeatable(req)
	var waited time.Duration
	for attempt := 0; ; attempt++ {
		if attempt > 0 {
			if err := Rewind(req); err != nil {
				return nil, err
			}
			*repeats++
		}
		resp, err := t.Next.RoundTrip(req)
		pause, again := t.again(resp, err, attempt)
		if again && resp != nil && pause > t.MaxWait {
			t.mu.Lock()
			if t.far == nil {
				t.far = map[string]far{}
			}
			t.far[req.URL.Host] = far{time.Now().Add(pause), time.Now()}
			t.mu.Unlock()
		}
		if !again || waited+pause > t.MaxWait || repeats == nil {
			return resp, err
		}
		if resp != nil {
			Aside(resp)
		}
		if err := Sleep(req.Context(), pause); err != nil {
			return nil, err
		}
		waited += pause
	}
}

// again says whether to try again, and after how long.
func (t *Retry) again(resp *http.Response, err error, attempt int) (time.Duration, bool) {
	pauses := t.Pauses
	if pauses == nil {
		pauses = DefaultPauses
	}
	if attempt >= len(pauses) {
		return 0, false
	}
	// Jitter only makes a pause longer: what a server asked for is the least.
	pause := pauses[attempt]
	pause += rand.N(pause/4 + 1)
	if err != nil {
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return pause, attempt == 0
		case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
			strings.Contains(err.Error(), "server sent GOAWAY"):
			return pause, true
		}
		return 0, false
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if asked, ok := ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
			return asked + rand.N(100*time.Millisecond), true
		}
		return pause, true
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return pause, true
	}
	return 0, false
}

// maxAsked is the longest wait that is understood: nobody waits for it, and it
// can be reckoned with.
const maxAsked = 365 * 24 * time.Hour

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
