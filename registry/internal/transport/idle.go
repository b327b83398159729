package transport

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// Idle ends answers that fall silent, or come to next to nothing: a body for which
// its reader has waited as long as Limit, and which brought less than enough in that
// time, ends with ErrStalled. The time that its reader takes in between doesn't
// count.
type Idle struct {
	Next  http.RoundTripper
	Limit time.Duration
}

// enough is what a body has to bring within Idle.Limit, if it doesn't end: 1 KiB a
// second, at 30 s.
const enough = 30 << 10

// RoundTrip sends the request and watches over the body of the answer.
func (t *Idle) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.Next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &idleBody{ReadCloser: resp.Body, limit: t.Limit}
	return resp, nil
}

// ErrStalled is of a body that fell silent. It is a time-out, as net.Error has
// it.
var ErrStalled error = stalled{}

type stalled struct{}

func (stalled) Error() string   { return "no byte came for too long" }
func (stalled) Timeout() bool   { return true }
func (stalled) Temporary() bool { return true }

type idleBody struct {
	io.ReadCloser
	limit  time.Duration
	timer  *time.Timer // runs while a Read waits
	late   atomic.Bool
	waited time.Duration // since enough came
	came   int           // bytes, since then
}

func (b *idleBody) Read(p []byte) (int, error) {
	left := max(b.limit-b.waited, 0)
	if b.timer == nil {
		b.timer = time.AfterFunc(left, func() {
			b.late.Store(true)
			b.ReadCloser.Close() // wakes the one who reads
		})
	} else {
		b.timer.Reset(left)
	}
	began := time.Now()
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	b.waited += time.Since(began)
	if b.came += n; b.came >= enough {
		b.came, b.waited = 0, 0
	}
	if err != nil && err != io.EOF && b.late.Load() {
		err = ErrStalled
	}
	return n, err
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
	maxAside  = 64 << 10
	asideTime = 2 * time.Second
)

// Aside reads and closes an answer that isn't what was asked for, and gives what
// came of it.
func Aside(resp *http.Response) []byte {
	b, _ := Read(resp, maxAside, asideTime) // nothing hangs on it
	return b
}
