package transport

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// Idle ends exchanges that fall silent. A body for which its reader has waited as
// long as Limit, and which brought less than enough in that time, ends with
// ErrStalled; so does a request of whose body nothing was taken for that long. The
// time that the reader, or the source of the request's body, takes in between
// doesn't count. A request that was sent as a whole and isn't answered within Answer
// (longer by Plan.Work) ends with ErrLate.
type Idle struct {
	Next   http.RoundTripper
	Limit  time.Duration // of silence within a body
	Answer time.Duration // from the end of a request to its answer; 0: no limit
	// FromStart counts Answer from the start of a request without a body: Next may be no
	// transport of net/http, and never tell when it has sent a request. Connecting counts too,
	// until Next tells.
	FromStart bool
}

// enough is what a body has to bring within Idle.Limit, if it doesn't end: 1 KiB a
// second, at 30 s.
const enough = 30 << 10

// RoundTrip sends the request and watches over it and the body of the answer.
func (t *Idle) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watch{end: cancel}
	answer := t.Answer
	if answer > 0 {
		answer = PlanOf(ctx).answerWithin(answer)
	}
	sent := req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			w.pause()
			if info.Err == nil {
				w.within(answer, ErrLate)
			}
		},
	}))
	if req.Body != nil && req.Body != http.NoBody {
		sent.Body = &sentBody{req.Body, w, t.Limit}
		if req.GetBody != nil { // for connections that turn out to be closed
			sent.GetBody = func() (io.ReadCloser, error) {
				body, err := req.GetBody()
				if err != nil {
					return nil, err
				}
				return &sentBody{body, w, t.Limit}, nil
			}
		}
	} else if t.FromStart {
		w.within(answer, ErrLate)
	}
	resp, err := t.Next.RoundTrip(sent)
	if late := w.stop(); late != nil && req.Context().Err() == nil {
		if err == nil {
			resp.Body.Close()
		}
		err = late
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Request = req
	resp.Body = &idleBody{ReadCloser: resp.Body, limit: t.Limit, done: func() { cancel(nil) }}
	return resp, nil
}

// ErrStalled is the error of a body that fell silent. It is a time-out, as net.Error has it.
var ErrStalled error = stalled{}

type stalled struct{}

func (stalled) Error() string   { return "no byte came for too long" }
func (stalled) Timeout() bool   { return true }
func (stalled) Temporary() bool { return true }

// idleBody is the body of an answer that ends with ErrStalled when it falls silent. Like any body
// it has one reader at a time.
type idleBody struct {
	io.ReadCloser
	limit   time.Duration
	done    func()        // ends the exchange
	timer   *time.Timer   // runs while a Read waits; nil: nothing was read yet
	stalled atomic.Bool   // the timer fired, and closed the body
	waited  time.Duration // of all Reads since the last that brought enough
	bytes   int           // that came since then
}

func (b *idleBody) Read(p []byte) (int, error) {
	left := max(b.limit-b.waited, 0)
	if b.timer == nil {
		b.timer = time.AfterFunc(left, func() {
			b.stalled.Store(true)
			b.ReadCloser.Close() // wakes the one who reads
		})
	} else {
		b.timer.Reset(left)
	}
	began := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	b.waited += time.Since(began)
	b.bytes += n
	if b.bytes >= enough {
		b.bytes, b.waited = 0, 0
	}
	if err != nil && err != io.EOF && b.stalled.Load() {
		err = ErrStalled
	}
	return n, err
}

func (b *idleBody) Close() error {
	err := b.ReadCloser.Close()
	b.done()
	return err
}

// Read reads at most n bytes of an answer, takes no longer than within for it,
// and closes it. An answer that was read to its end leaves its connection to the
// next request.
func Read(resp *http.Response, n int64, within time.Duration) ([]byte, error) {
	var late atomic.Bool
	timer := time.AfterFunc(within, func() {
		late.Store(true)
		resp.Body.Close()
	})
	defer timer.Stop()
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, n))
	if err != nil && late.Load() {
		err = ErrStalled
	}
	return b, err
}

// Bounds of an answer that isn't what was asked for: an error, a redirect.
const (
	maxAside  = 64 << 10 // bytes
	asideTime = 2 * time.Second
)

// Aside reads and closes an answer that isn't what was asked for, and gives its bytes, as far as
// they came. An error of the body is no matter.
func Aside(resp *http.Response) []byte {
	b, _ := Read(resp, maxAside, asideTime)
	return b
}
