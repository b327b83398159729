package transport

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Plain sends requests for hosts that speak plain HTTP by http: always those that Named names,
// and those that Loopback or Fallback allows if they speak no TLS. All requests come in as https.
//
// A host that may fall back is asked by https first. Once it spoke TLS it is asked by no http any
// more: whoever can break its TLS would get a credential in clear. Nobody is between a loopback
// host and this process, so that one may change its mind.
type Plain struct {
	Next     http.RoundTripper
	Named    func(host string) bool       // hosts that are asked by http alone
	Loopback func(host string) bool       // hosts that are this machine
	Fallback func(req *http.Request) bool // whether somebody allows http for the host of a request

	found hostSet // hosts that speak http, though asked by https
	tls   hostSet // hosts that spoke TLS
}

// hostSet is a set of host:port. It is safe for concurrent use.
type hostSet struct{ hosts sync.Map }

func (s *hostSet) has(host string) bool {
	_, ok := s.hosts.Load(host)
	return ok
}

// ByHTTP says whether a host is asked by http, as far as is known of it.
func (t *Plain) ByHTTP(host string) bool { return t.Named(host) || t.found.has(host) }

// RoundTrip sends the request by the scheme that its host speaks.
func (t *Plain) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" {
		return t.Next.RoundTrip(req)
	}
	host := req.URL.Host
	if t.Named(host) {
		return t.Next.RoundTrip(byHTTP(req))
	}
	fallback := t.Loopback(host) || t.Fallback(req)
	if fallback && t.found.has(host) {
		return t.byHTTP(req)
	}
	var shook atomic.Bool // a handshake came to its end, so the server speaks TLS
	trace := &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { shook.Store(true) },
	}
	resp, err := t.Next.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if resp != nil {
		resp.Request = req
	}
	if fallback && !t.Loopback(host) && (err == nil || shook.Load()) {
		t.tls.hosts.Store(host, struct{}{})
	}
	if err == nil || !fallback || t.tls.has(host) || !answeredInPlain(err) && !hungUp(err) && !isClosed(err, req) {
		return resp, err
	}
	address := req.URL
	plain, perr := t.byHTTP(req)
	switch {
	case perr != nil:
		req.URL = address // the next try is by https again
	case plain.StatusCode == http.StatusBadRequest && hungUp(err):
		// The server speaks TLS, and hung up for another reason. What counts is that.
		plain.Body.Close()
		req.URL = address
		return nil, err
	}
	return plain, perr
}

// byHTTP sends a request by http, and takes note of a host that answers.
func (t *Plain) byHTTP(req *http.Request) (*http.Response, error) {
	host := req.URL.Host
	resp, err := t.Next.RoundTrip(byHTTP(req))
	switch {
	case err == nil && resp.StatusCode == http.StatusBadRequest:
		t.found.hosts.Delete(host) // it is a TLS server's answer to plain text
	case err == nil:
		t.found.hosts.Store(host, struct{}{})
	}
	return resp, err
}

// isClosed says whether nobody is at the port of https, where the address names no port and so
// means another one by http.
func isClosed(err error, req *http.Request) bool {
	var dial *net.OpError
	return req.URL.Port() == "" && errors.As(err, &dial) && dial.Op == "dial" && (errors.Is(err, syscall.ECONNREFUSED) || dial.Timeout())
}

// answeredInPlain says whether a TLS handshake failed because the other side doesn't speak TLS, and
// said something else.
func answeredInPlain(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record) || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// hungUp says whether the other side hung up: on the greeting, as a server may that doesn't speak
// TLS, or for any other reason.
func hungUp(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }

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
