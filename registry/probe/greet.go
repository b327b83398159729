package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
)

// Greeting is how a registry answers somebody whom it doesn't know.
type Greeting struct {
	Status int // 200, 401 or 403, where a registry answers; 0: nobody answered
	// Schemes of authentication that it asks for, in lower case and its own order:
	// "bearer", "basic". None: it asks nobody.
	Schemes []string
	// Realm is the host that tokens come from; "" where none are asked for.
	Realm string
	// TLS is the connection that the answer came by; nil: it was plain HTTP.
	TLS *tls.ConnectionState
}

// greeted are the statuses by which a registry greets.
var greeted = []int{http.StatusOK, http.StatusUnauthorized, http.StatusForbidden}

// Greet asks a registry for nothing, without a credential (spec, "Determining Support"): one GET
// of /v2/. server is the URL of the server that is asked, one of registry.HostState; "": the
// registry itself. registry.ErrNotFound, or registry.ErrServer, where something else than a
// registry answers there; its status and its connection are told all the same.
func Greet(ctx context.Context, c *registry.Client, host, server string) (Greeting, error) {
	resp, err := c.Do(ctx, ref.Repository{Host: host}, registry.Request{Anonymous: true, Server: server, Status: greeted})
	if resp == nil {
		return Greeting{}, err
	}
	g := Greeting{Status: resp.StatusCode, TLS: resp.TLS}
	if err != nil {
		return g, err
	}
	resp.Body.Close()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "text/html" && g.Status == http.StatusOK {
		return g, &registry.Error{
			Op: "GET API", Name: host, Kind: registry.ErrServer,
			Err: errors.New("it answers with a web page, as no registry does"),
		}
	}
	for _, ch := range auth.ParseChallenges(resp.Header.Values("WWW-Authenticate")) {
		if g.Schemes = append(g.Schemes, ch.Scheme); ch.Scheme == "bearer" && g.Realm == "" {
			g.Realm = realm(resp.Request.URL, ch.Params["realm"])
		}
	}
	return g, nil
}

// realm gives the host of a realm that an answer to at names; "": no token is asked for there.
func realm(at *url.URL, named string) string {
	u, err := at.Parse(named)
	if err != nil || named == "" || u.Scheme != "https" && u.Scheme != "http" {
		return ""
	}
	if at.Scheme == "https" && u.Scheme == "http" {
		if !strings.EqualFold(at.Hostname(), u.Hostname()) {
			return "" // it isn't encrypted
		}
		return at.Host // it names itself so behind a TLS proxy
	}
	return u.Host
}

// LogIn asks a registry for nothing, with the best credential for r, whose path may
// be empty, and names the account that it was let in as. "" without an error says
// that nobody in particular was: there is no credential, or it wasn't asked for, or
// it was refused where anyone is let in. registry.ErrDenied: nobody was.
func LogIn(ctx context.Context, c *registry.Client, r ref.Repository) (account string, err error) {
	resp, err := c.Do(ctx, r, registry.Request{Status: []int{http.StatusOK}})
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	return c.Account(r), nil
}

// Latency gives the median time of n requests for nothing, on a connection that is
// there. It sends one more, which makes the connection.
func Latency(ctx context.Context, c *registry.Client, host string, n int) (time.Duration, error) {
	var took []time.Duration
	for range n + 1 {
		began := time.Now()
		resp, err := c.Do(ctx, ref.Repository{Host: host}, registry.Request{Anonymous: true, Status: greeted})
		if err != nil {
			return 0, err
		}
		drain(resp)
		took = append(took, time.Since(began))
	}
	took = took[1:]
	slices.Sort(took)
	return took[len(took)/2], nil
}
