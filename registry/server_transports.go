package registry

import (
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
	usual    *transports                 // of servers without a TLS setting of their own

	mu  sync.Mutex
	all map[*transports]bool // in use, but for usual; guarded by mu
}

// transports have the connections of one TLS setting. Blobs have connections of their own, so
// that nothing else waits behind them; over HTTP/2 too.
type transports struct{ meta, bulk *http.Transport }

func newTransports(e hosts.Endpoint) *transports {
	dial := e.DialTimeout
	if dial == 0 {
		dial = dialTimeout
	}
	one := func() *http.Transport {
		return &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: dial, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:       e.TLS.Clone(),
			ForceAttemptHTTP2:     true,
			HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: dialTimeout},
			TLSHandshakeTimeout:   dial,
			ExpectContinueTimeout: time.Second,
			MaxIdleConnsPerHost:   32,
			IdleConnTimeout:       90 * time.Second,
			DisableCompression:    true, // bodies are hashed as they are
		}
	}
	return &transports{one(), one()}
}

func (w *transports) closeIdle() {
	w.meta.CloseIdleConnections()
	w.bulk.CloseIdleConnections()
}

// RoundTrip sends the request as it is, but for the headers that people configured
// for the server that it goes to.
func (w *serverTransports) RoundTrip(req *http.Request) (*http.Response, error) {
	plan := transport.PlanOf(req.Context())
	to := plan.Server
	if to == nil || !transport.SameServer(to.Base, req.URL) {
		to = w.of(req.URL.Host)
	}
	if len(to.Header) > 0 {
		// Its own, as a RoundTripper changes no request.
		own := *req
		own.Header = req.Header.Clone()
		for name, v := range to.Header {
			if name != "Authorization" || own.Header.Get(name) == "" {
				own.Header[name] = v
			}
		}
		req = &own
	}
	if plan.Bulk {
		return to.Bulk.RoundTrip(req)
	}
	return to.Meta.RoundTrip(req)
}

// of gives the settings of a server host:port.
func (w *serverTransports) of(server string) *transport.Server {
	if e := w.endpoint(server); e != nil {
		return e.sends
	}
	return &transport.Server{Meta: w.usual.meta, Bulk: w.usual.bulk}
}

// take makes the transports for an endpoint.
func (w *serverTransports) take(e hosts.Endpoint) *transports {
	if e.TLS == nil && e.DialTimeout == 0 {
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
