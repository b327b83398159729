package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// Greeting is how a registry answers somebody whom it doesn't know.
type Greeting struct {
	Status int // 200, 401 or 403, where a registry answers
	// Schemes of authentication that it asks for, in lower case and its own order:
	// "bearer", "basic". None: it asks nobody.
	Schemes []string
	// Realm is the host that tokens come from; "" where none are asked for.
	Realm string
	// TLS is the connection that the answer came by; nil: it was plain HTTP.
	TLS *tls.ConnectionState
}

// Greet asks a registry for nothing, without a credential (spec, "Determining
// Support"): one GET of /v2/. ErrNotFound, or ErrServer, where something else than a
// registry answers there; what its connection was like is told all the same.
func (c *Client) Greet(ctx context.Context, host string) (Greeting, error) {
	return c.greet(ctx, greetCall(host))
}

// GreetServer is Greet for one of the servers of a registry, by its place in Servers.
func (c *Client) GreetServer(ctx context.Context, host string, n int) (Greeting, error) {
	k := greetCall(host)
	h, err := c.host(host)
	if err != nil {
		return Greeting{}, k.failed(ctx, err, "")
	}
	servers := h.servers()
	if n >= len(servers) { // the configuration has changed
		return Greeting{}, k.nonsense("it has no server of the number %d", n)
	}
	k.at = servers[n]
	return c.greet(ctx, k)
}

func (c *Client) greet(ctx context.Context, k call) (Greeting, error) {
	resp, err := c.do(ctx, k, everyStatus...)
	if err != nil {
		return Greeting{}, err
	}
	g := Greeting{Status: resp.StatusCode, TLS: resp.TLS}
	if !slices.Contains(greeted, g.Status) {
		return g, k.refused(resp, resp.Request.URL.Host, "")
	}
	transport.Aside(resp)
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "text/html" && g.Status == http.StatusOK {
		return g, k.nonsense("it answers with a web page, as no registry does")
	}
	for _, ch := range auth.ParseChallenges(resp.Header.Values("WWW-Authenticate")) {
		if g.Schemes = append(g.Schemes, ch.Scheme); ch.Scheme != "bearer" || g.Realm != "" {
			continue
		}
		if realm, err := transport.Resolve(resp.Request.URL, ch.Params["realm"]); err == nil {
			g.Realm = realm.Host
		}
	}
	return g, nil
}

// greeted are the statuses by which a registry greets.
var greeted = []int{http.StatusOK, http.StatusUnauthorized, http.StatusForbidden}

// everyStatus is what a server can answer with.
var everyStatus = func() (all []int) {
	for s := 200; s < 600; s++ {
		all = append(all, s)
	}
	return all
}()

// greetCall is the request for nothing, which no credential goes along with.
func greetCall(host string) call {
	return call{method: http.MethodGet, repo: ref.Repository{Host: host}, anonymous: true, what: "API", name: host}
}

// LogIn asks a registry for nothing, with the best credential for r, whose path may
// be empty, and names the account that it was let in as. "" without an error says
// that nobody in particular was: there is no credential, or it wasn't asked for, or
// it was refused where anyone is let in. ErrDenied: nobody was.
func (c *Client) LogIn(ctx context.Context, r ref.Repository) (account string, err error) {
	resp, err := c.do(ctx, call{method: http.MethodGet, repo: r, what: "API", name: r.Host}, http.StatusOK)
	if err != nil {
		return "", err
	}
	transport.Aside(resp)
	return c.Account(r), nil
}

// RoundTrip gives the median time of n requests for nothing, on a connection that is
// there. It sends one more, which makes the connection.
func (c *Client) RoundTrip(ctx context.Context, host string, n int) (time.Duration, error) {
	var took []time.Duration
	for range n + 1 {
		began := time.Now()
		resp, err := c.do(ctx, greetCall(host), greeted...)
		if err != nil {
			return 0, err
		}
		transport.Aside(resp)
		took = append(took, time.Since(began))
	}
	took = took[1:]
	slices.Sort(took)
	return took[len(took)/2], nil
}

// RateLimit asks what the limits are, by a HEAD of a manifest, which isn't counted.
// false: the registry tells of none.
func (c *Client) RateLimit(ctx context.Context, r ref.Repository, reference string) (RateLimit, bool, error) {
	if _, err := checkReference(r, reference); err != nil {
		return RateLimit{}, false, err
	}
	resp, err := c.do(ctx, manifestCall(http.MethodHead, r, reference), http.StatusOK)
	if err != nil {
		return RateLimit{}, false, err
	}
	resp.Body.Close()
	l, ok := c.learnt.limit(r.Host)
	return l, ok, nil
}

// Proxy gives the proxy that a registry is asked by, as the environment has it
// (HTTPS_PROXY, NO_PROXY), without its password; nil: it is asked directly.
func (c *Client) Proxy(host string) (*url.URL, error) {
	u := &url.URL{Scheme: "https", Host: ref.APIHost(host)}
	if slices.Contains(c.opts.PlainHTTP, host) {
		u.Scheme = "http"
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err != nil || proxy == nil {
		return nil, err
	}
	bare := *proxy
	bare.User = nil
	return &bare, nil
}

// SpeaksPlain says whether err is of a server that answered TLS in plain text.
func SpeaksPlain(err error) bool {
	var record tls.RecordHeaderError
	return errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch)
}
