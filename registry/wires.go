package registry

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/internal/transport"
)

// wires carry each request by the connections that are for where it goes: those of
// the endpoint that it was made for, or, where it was led to another server, of that
// one. It is safe for concurrent use.
type wires struct {
	endpoint func(host string) *endpoint // of the server host:port itself; nil: as nobody configured
	usual    *wire

	mu  sync.Mutex
	all map[*wire]bool
}

// wire is the connections of one setting. Blobs have some of their own, so that
// nothing else waits behind them; over HTTP/2 too.
type wire struct{ meta, bulk *http.Transport }

func newWire(e hosts.Endpoint) *wire {
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
	return &wire{one(), one()}
}

func (w *wire) closeIdle() {
	w.meta.CloseIdleConnections()
	w.bulk.CloseIdleConnections()
}

type (
	endpointKey struct{}
	bulkKey     struct{}
)

// by makes requests with this context go by the wire of an endpoint.
func by(ctx context.Context, e *endpoint) context.Context {
	return context.WithValue(ctx, endpointKey{}, e)
}

// inBulk makes requests with this context go by the connections for blobs.
func inBulk(ctx context.Context) context.Context { return context.WithValue(ctx, bulkKey{}, true) }

// RoundTrip sends the request as it is, but for the headers that people configured
// for the server that it goes to.
func (w *wires) RoundTrip(req *http.Request) (*http.Response, error) {
	e, _ := req.Context().Value(endpointKey{}).(*endpoint)
	if e == nil || !transport.SameServer(e.Base, req.URL) {
		e = w.endpoint(req.URL.Host)
	}
	wire := w.usual
	if e != nil {
		wire = e.wire
		if len(e.Header) > 0 {
			// Its own, as a RoundTripper changes no request.
			own := *req
			own.Header = req.Header.Clone()
			for name, v := range e.Header {
				if name != "Authorization" || own.Header.Get(name) == "" {
					own.Header[name] = v
				}
			}
			req = &own
		}
	}
	if req.Context().Value(bulkKey{}) == true {
		return wire.bulk.RoundTrip(req)
	}
	return wire.meta.RoundTrip(req)
}

// take makes the wire for an endpoint.
func (w *wires) take(e hosts.Endpoint) *wire {
	if e.TLS == nil && e.DialTimeout == 0 {
		return w.usual
	}
	wire := newWire(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all[wire] = true
	return wire
}

// drop gives up a wire that nothing new goes by. What is under way goes on.
func (w *wires) drop(wire *wire) {
	if wire == w.usual {
		return
	}
	w.mu.Lock()
	delete(w.all, wire)
	w.mu.Unlock()
	wire.closeIdle()
}

func (w *wires) closeIdle() {
	w.usual.closeIdle()
	w.mu.Lock()
	defer w.mu.Unlock()
	for wire := range w.all {
		wire.closeIdle()
	}
}
