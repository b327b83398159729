package transport

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Observe tells what goes over the wire. Each request that it sends is one on the wire: those that
// are sent again, where a redirect leads, and those for tokens are requests like any other. host is
// where a request goes to, host[:port] in lower case. The functions may be called concurrently, and
// none may be nil.
type Observe struct {
	Next http.RoundTripper
	// Exchanged is told of a request when the header of its answer has come, after so long;
	// status is 0 if no answer came.
	Exchanged func(host, method string, status int, took time.Duration)
	// Downloaded is told of bytes of a blob that came, Uploaded of those that left.
	Downloaded, Uploaded func(host string, bytes int)
}

// RoundTrip sends the request. Requests that carry a blob are those with Plan.Bulk.
func (t *Observe) RoundTrip(req *http.Request) (*http.Response, error) {
	host, bulk := strings.ToLower(req.URL.Host), PlanOf(req.Context()).Bulk
	sent := req
	if bulk && req.Body != nil && req.Body != http.NoBody {
		sent = t.observeSent(req, host)
	}
	began := time.Now()
	resp, err := t.Next.RoundTrip(sent)
	took := time.Since(began)
	if err != nil {
		t.Exchanged(host, req.Method, 0, took)
		return nil, err
	}
	t.Exchanged(host, req.Method, resp.StatusCode, took)
	resp.Request = req
	if bulk && isContent(resp) {
		resp.Body = &observedBody{resp.Body, host, t.Downloaded}
	}
	return resp, nil
}

// isContent says whether an answer has what was asked for, or a part of it, in its body.
func isContent(resp *http.Response) bool {
	return resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent
}

// observeSent gives a request whose body is observed.
func (t *Observe) observeSent(req *http.Request, host string) *http.Request {
	sent := *req
	sent.Body = &observedBody{req.Body, host, t.Uploaded}
	if req.GetBody != nil {
		sent.GetBody = func() (io.ReadCloser, error) {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			return &observedBody{body, host, t.Uploaded}, nil
		}
	}
	return &sent
}

// observedBody tells of the bytes that are read of a body.
type observedBody struct {
	io.ReadCloser
	host string
	tell func(host string, bytes int)
}

func (b *observedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.tell(b.host, n)
	}
	return n, err
}

// Reasons for which a request, or the rest of a blob, is asked for again.
const (
	AgainThrottled = "throttled" // 429, or an answer with Retry-After
	AgainStatus    = "status"    // another status that may pass, such as 502
	AgainRefused   = "refused"   // nobody listened at the port
	AgainDNS       = "dns"       // a name server failed
	AgainStalled   = "stalled"   // no byte, or no answer, came for too long
	AgainBroken    = "broken"    // the connection or the body broke off
)

// AgainAfter gives the reason where an error kept an answer, or its body, away.
func AgainAfter(err error) string {
	var dns *net.DNSError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return AgainRefused
	case errors.As(err, &dns):
		return AgainDNS
	case errors.As(err, &timeout) && timeout.Timeout():
		return AgainStalled
	}
	return AgainBroken
}

// againAfterAnswer gives the reason where an answer was a failure. asked says that the server asked
// for a wait.
func againAfterAnswer(resp *http.Response, asked bool) string {
	if asked || resp.StatusCode == http.StatusTooManyRequests {
		return AgainThrottled
	}
	return AgainStatus
}
