package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Plain sends requests for hosts that speak plain HTTP by http: those that Named
// names always, and those that Loopback allows once they answered https in plain
// text. All requests come in as https.
type Plain struct {
	Next     http.RoundTripper
	Named    func(host string) bool
	Loopback func(host string) bool

	found sync.Map // host → struct{}: loopback hosts that speak http
}

// RoundTrip sends the request by the scheme that its host speaks.
func (t *Plain) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" {
		return t.Next.RoundTrip(req)
	}
	host := req.URL.Host
	if t.Named(host) {
		return t.Next.RoundTrip(byHTTP(req))
	}
	if _, ok := t.found.Load(host); ok {
		resp, err := t.Next.RoundTrip(byHTTP(req))
		if err == nil && resp.StatusCode == http.StatusBadRequest {
			t.found.Delete(host) // it may speak TLS by now, and is asked anew next time
		}
		return resp, err
	}
	var shook atomic.Bool // a handshake came to its end: the other side does speak TLS
	trace := &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { shook.Store(true) },
	}
	resp, err := t.Next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if resp != nil {
		resp.Request = req
	}
	if err == nil || !t.Loopback(host) || shook.Load() || !answeredInPlain(err) {
		return resp, err
	}
	resp, err = t.Next.RoundTrip(byHTTP(req))
	if err == nil && resp.StatusCode != http.StatusBadRequest { // which is a TLS server's answer to plain text
		t.found.Store(host, struct{}{})
	}
	return resp, err
}

// answeredInPlain says whether a TLS handshake failed because the other side
// doesn't speak TLS: it said something else, or hung up on the greeting.
func answeredInPlain(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record) || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// byHTTP changes the address in place of the request's own, as all that follows
// (redirects, Links) starts from it.
func byHTTP(req *http.Request) *http.Request {
	u := *req.URL
	u.Scheme = "http"
	req.URL = &u
	if req.GetBody != nil { // the attempt by https closed the first one
		if body, err := req.GetBody(); err == nil {
			req.Body = body
		}
	}
	return req
}
