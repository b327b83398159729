package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// A TLS server of this machine that hangs up answers plain text with 400. That is no answer: what
// counts is that it hung up, so that the request is tried again. A server that speaks plain text may
// say 400 itself.
func TestATLSServerThatHangsUpIsNotTakenForAPlainOne(t *testing.T) {
	for _, c := range []struct {
		name   string
		https  error
		status int
		want   error // nil: the answer to plain text
	}{
		{"a reset", syscall.ECONNRESET, 400, syscall.ECONNRESET},
		{"an end", io.EOF, 400, io.EOF},
		{"plain, after a reset", syscall.ECONNRESET, 200, nil},
		{"plain, and 400", tls.RecordHeaderError{Msg: "plain"}, 400, nil},
	} {
		p := &Plain{
			Named: func(string) bool { return false }, Loopback: func(string) bool { return true },
			Next: roundTrip(func(req *http.Request) (*http.Response, error) {
				if req.URL.Scheme == "https" {
					return nil, c.https
				}
				return &http.Response{StatusCode: c.status, Body: io.NopCloser(strings.NewReader(""))}, nil
			}),
		}
		for range 2 {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1:5000/v2/", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := p.RoundTrip(req)
			switch {
			case c.want != nil && !errors.Is(err, c.want):
				t.Errorf("%s: %v, %v", c.name, resp, err)
			case c.want != nil && req.URL.Scheme != "https":
				t.Errorf("%s: it is tried again at %s", c.name, req.URL)
			case c.want == nil && (err != nil || resp.StatusCode != c.status):
				t.Errorf("%s: %v, %v", c.name, resp, err)
			}
			if resp != nil {
				resp.Body.Close()
			}
		}
	}
}
