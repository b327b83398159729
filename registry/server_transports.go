package registry

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/internal/transport"
)

// serverTransports sends each request by the transports that are for where it goes: those of
// the endpoint that it was made for, or, where it was led to another server, of that
// one. It is safe for concurrent use.
type serverTransports struct {
	endpoint func(host string) *endpoint // of the server host:port itself; nil: as nobody configured
	own      http.RoundTripper           // sends all requests in place of the transports; nil: there is none
	usual    *transports                 // of servers without a TLS setting of their own
	plainOK  func(host string) bool      // whether secrets may go to host:port by http

	mu  sync.Mutex
	all map[*transports]bool // in use, but for usual; guarded by mu
}

// transports have the connections of one TLS setting. Blobs have connections of their own, so
// that nothing else waits behind them; over HTTP/2 too. Parts of a blob are asked for where one
// connection is slow. HTTP/2 would send them all by one connection, so HTTP/1 is spoken for them.
type transports struct {
	meta, bulk *http.Transport
	part       *http.Transport // speaks HTTP/1 only
	bare       *http.Transport // shows no certificate of the client's; it is bulk if there is none
}

func newTransports(e hosts.Endpoint) *transports {
	dial := e.DialTimeout
	if dial == 0 {
		dial = dialTimeout
	}
	one := func(config *tls.Config) *http.Transport {
		return &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: dial, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:       config,
			ForceAttemptHTTP2:     true,
			HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: dialTimeout},
			TLSHandshakeTimeout:   dial,
			ExpectContinueTimeout: time.Second,
			MaxIdleConnsPerHost:   32,
			IdleConnTimeout:       90 * time.Second,
			DisableCompression:    true, // bodies are hashed as they are
		}
	}
	ts := &transports{meta: one(e.TLS.Clone()), bulk: one(e.TLS.Clone()), part: one(e.TLS.Clone())}
	ts.part.Protocols = new(http.Protocols)
	ts.part.Protocols.SetHTTP1(true)
	ts.bare = ts.bulk
	if e.TLS != nil && (len(e.TLS.Certificates) > 0 || e.TLS.GetClientCertificate != nil) {
		config := e.TLS.Clone()
		config.Certificates, config.GetClientCertificate = nil, nil
		ts.bare = one(config)
	}
	return ts
}

func (w *transports) closeIdle() {
	w.meta.CloseIdleConnections()
	w.bulk.CloseIdleConnections()
	w.part.CloseIdleConnections()
	w.bare.CloseIdleConnections()
}

// RoundTrip sends the request as it is, but for the headers that people configured
// for the server that it goes to.
func (w *serverTransports) RoundTrip(req *http.Request) (*http.Response, error) {
	plan := transport.PlanOf(req.Context())
	if plan.Bare {
		return w.bare(req)
	}
	to := plan.Server
	if to == nil || !to.Is(req.URL) {
		to = w.of(req.URL.Host)
		if plan.Token && plan.Server != nil && w.isTokenServer(req) {
			req = withHeader(req, plan.Server.Header)
		}
	}
	req = withHeader(req, to.Header)
	switch {
	case w.own != nil:
		return w.byOwn(req)
	case plan.Part:
		return to.Part.RoundTrip(req)
	case plan.Bulk:
		return to.Bulk.RoundTrip(req)
	}
	return to.Meta.RoundTrip(req)
}

// bare sends a request that goes without what people configured, except for whom they trust.
func (w *serverTransports) bare(req *http.Request) (*http.Response, error) {
	if w.own != nil {
		return w.byOwn(req)
	}
	return w.of(req.URL.Host).Bare.RoundTrip(req)
}

// byOwn sends a request by the caller's RoundTripper. An answer without a Body has an empty one, as
// for http.Client: fakes leave it out.
func (w *serverTransports) byOwn(req *http.Request) (*http.Response, error) {
	resp, err := w.own.RoundTrip(req)
	switch {
	case err != nil:
		return nil, &ownError{err}
	case resp == nil:
		return nil, errors.New("Options.Transport gave neither an answer nor an error")
	case resp.Body == nil:
		resp.Body = http.NoBody
	}
	return resp, nil
}

// ownError is what a caller's RoundTripper ended with in place of an answer.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }

func (e *ownError) Unwrap() error { return e.err }

// isTokenServer says whether a request for a token goes to the server that was named for it, in
// a way that is fit for secrets, and not to one where that leads.
func (w *serverTransports) isTokenServer(req *http.Request) bool {
	first := req
	for first.Response != nil {
		first = first.Response.Request
	}
	return transport.SameServer(first.URL, req.URL) && (req.URL.Scheme == "https" || w.plainOK(req.URL.Host))
}

// withHeader gives a request with headers that people configured, in place of its own. An
// Authorization of its own is that of a credential, and stays. The request isn't changed, as
// becomes a RoundTripper.
func withHeader(req *http.Request, header http.Header) *http.Request {
	if len(header) == 0 {
		return req
	}
	own := *req
	own.Header = req.Header.Clone()
	for name, v := range header {
		if name != "Authorization" || own.Header.Get(name) == "" {
			own.Header[name] = v
		}
	}
	return &own
}

// of gives the settings of a server host:port.
func (w *serverTransports) of(server string) *transport.Server {
	if e := w.endpoint(server); e != nil {
		return e.sends
	}
	return &transport.Server{Meta: w.usual.meta, Bulk: w.usual.bulk, Part: w.usual.part, Bare: w.usual.bare}
}

// take makes the transports for an endpoint.
func (w *serverTransports) take(e hosts.Endpoint) *transports {
	if e.TLS == nil && e.DialTimeout == 0 || w.own != nil {
		return w.usual
	}
	ts := newTransports(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all[ts] = true
	return ts
}

// drop gives up transports that nothing new goes by. What is under way goes on.
func (w *serverTransports) drop(ts *transports) {
	if ts == w.usual {
		return
	}
	w.mu.Lock()
	delete(w.all, ts)
	w.mu.Unlock()
	ts.closeIdle()
}

func (w *serverTransports) closeIdle() {
	w.usual.closeIdle()
	w.mu.Lock()
	defer w.mu.Unlock()
	for ts := range w.all {
		ts.closeIdle()
	}
}
