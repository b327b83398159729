package registry

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// endpoint is a server that speaks for a registry: one of its mirrors, or itself. It
// isn't changed once made, but for its health.
type endpoint struct {
	hosts.Endpoint
	registry string // the host of the registry, as people spell it
	mirror   bool   // it isn't the registry itself
	// descriptorURL is the URL of a descriptor, of which Base is the address: the endpoint has
	// one blob there, is no server of the registry, and gets no credential; "": it is a server.
	descriptorURL string
	transports    *transports
	sends         *transport.Server // by its transports, with its headers
	health        *health
	asked         *atomic.Bool // a server of the registry was asked; all its endpoints have the same
}

// host is the one record of a registry: the servers that speak for it.
type host struct {
	record  *hosts.Record
	mirrors []*endpoint
	server  *endpoint
}

// servers are all that speak for it, in the order in which they are asked.
func (h *host) servers() []*endpoint {
	return append(h.mirrors[:len(h.mirrors):len(h.mirrors)], h.server)
}

// host gives the record of a registry, made anew where what people configured has
// changed.
func (c *Client) host(name string) (*host, error) {
	var record *hosts.Record
	if c.opts.Config != nil {
		var err error
		if record, err = c.opts.Config.Record(name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfigured, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before, _ := c.hosts.Get(name)
	if before != nil && before.record == record {
		return before, nil
	}
	h := &host{record: record}
	asked := new(atomic.Bool)
	if before != nil {
		asked = before.server.asked
	}
	if record == nil {
		base := &url.URL{Scheme: "https", Host: ref.APIHost(name), Path: "/v2"}
		h.server = c.endpoint(name, hosts.Endpoint{Base: base, Can: hosts.Pull | hosts.Resolve | hosts.Push | hosts.Referrers})
	} else {
		for _, m := range record.Mirrors {
			e := c.endpoint(name, m)
			e.mirror = true
			h.mirrors = append(h.mirrors, e)
		}
		h.server = c.endpoint(name, record.Server)
	}
	for _, e := range h.servers() {
		e.asked = asked
	}
	if before != nil {
		c.gone(before)
	}
	c.hosts.Add(name, h)
	return h, nil
}

// gone gives up the transports of a host whose record isn't used any more.
func (c *Client) gone(h *host) {
	for _, e := range h.servers() {
		c.transports.drop(e.transports)
	}
}

// endpoint makes an endpoint. mu is held.
func (c *Client) endpoint(registry string, e hosts.Endpoint) *endpoint {
	ts := c.transports.take(e)
	return &endpoint{
		Endpoint: e, registry: registry, transports: ts, health: c.learnt.health(e.Base.Host),
		sends: &transport.Server{Base: e.Base, Header: e.Header, Meta: ts.meta, Bulk: ts.bulk, Part: ts.part, Bare: ts.bare, HTTPFallback: e.HTTPFallback},
	}
}

// ofServer gives the endpoint of a server host:port itself, whatever it was that led
// there; nil where nobody configured anything of it.
func (c *Client) ofServer(server string) *endpoint {
	if c.opts.Config == nil {
		return nil
	}
	name, err := ref.ParseHost(server)
	if err != nil {
		return nil
	}
	h, err := c.host(name)
	if err != nil || !strings.EqualFold(h.server.Base.Host, ref.APIHost(name)) {
		return nil // what stands for it isn't it
	}
	return h.server
}

// fallsBack says whether a request may go by http if its server speaks no TLS, as somebody
// configured.
func (c *Client) fallsBack(req *http.Request) bool {
	if s := transport.PlanOf(req.Context()).Server; s != nil && s.Is(req.URL) {
		return s.HTTPFallback
	}
	e := c.ofServer(req.URL.Host)
	return e != nil && e.HTTPFallback
}

// isPlain says whether a server host:port is configured to be asked by http, or to fall back
// to it. Then credentials may go there by http.
func (c *Client) isPlain(server string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.hosts.Values(), func(h *host) bool {
		return slices.ContainsFunc(h.servers(), func(e *endpoint) bool {
			return (e.Base.Scheme == "http" || e.HTTPFallback) && e.Base.Host == server
		})
	})
}

// url is the address of something below the API of the endpoint.
func (e *endpoint) url(path, query string) *url.URL {
	u := *e.Base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + path
	u.RawQuery = query
	if !strings.EqualFold(e.Base.Host, ref.APIHost(e.registry)) {
		// So that it knows whose repository that is.
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += "ns=" + url.QueryEscape(e.registry)
	}
	return &u
}

// name is the endpoint as errors and people call it.
func (e *endpoint) name() string { return e.Base.Host }

// account is what a credential for a repository is looked for by: the repository as
// the endpoint has it. So what is for the registry goes to none of its mirrors.
func (e *endpoint) account(r ref.Repository) ref.Repository {
	at := ref.Repository{Host: strings.ToLower(e.Base.Host), Path: e.path(r.Path)}
	if h, err := ref.ParseHost(at.Host); err == nil {
		at.Host = h
	}
	return at
}

// path is a repository's path below the host of the endpoint, which may have
// repositories of others below a path of its own.
func (e *endpoint) path(of string) string {
	below := strings.Trim(e.Base.Path, "/")
	if below = strings.TrimPrefix(strings.TrimPrefix(below, "v2"), "/"); below == "" || of == "" {
		return of
	}
	return below + "/" + of
}

// access is what a token is asked for at the endpoint.
func (e *endpoint) access(a auth.Access) auth.Access {
	a.From = e.path(a.From)
	return a
}

// errNobody is of what no server may be asked for.
var errNobody = fmt.Errorf("no server that is configured for the registry may be asked for it: %w", ErrUnsupported)

// able gives the endpoints that can do what is needed, in the order in which they are
// asked. What is written goes to one alone.
func (c *Client) able(registry string, need hosts.Capability) ([]*endpoint, error) {
	h, err := c.host(registry)
	if err != nil {
		return nil, err
	}
	var es []*endpoint
	for _, e := range h.servers() {
		if e.Can&need == need {
			es = append(es, e)
		}
	}
	if len(es) == 0 {
		return nil, errNobody
	}
	if need == hosts.Push {
		es = es[:1]
	}
	return es, nil
}

// listing gives the endpoints that are asked for lists: the registry itself, as
// nobody can see whether a mirror's list is all of it, and mirrors where it is out
// of reach.
func (c *Client) listing(registry string) ([]*endpoint, error) {
	es, err := c.able(registry, hosts.Resolve)
	if err != nil {
		return nil, err
	}
	if last := es[len(es)-1]; !last.mirror {
		es = append([]*endpoint{last}, es[:len(es)-1]...)
	}
	return es, nil
}

// referring gives the endpoints that are asked for referrers by the API: the mirrors whose
// capabilities name them, and then those that are asked for any list, unless the registry is
// known to have no such API.
func (c *Client) referring(r ref.Repository) ([]*endpoint, error) {
	able, err := c.able(r.Host, hosts.Referrers)
	if err != nil && !errors.Is(err, errNobody) {
		return nil, err
	}
	first := slices.DeleteFunc(able, func(e *endpoint) bool { return !e.mirror })
	if !c.learnt.hasReferrers(r) {
		if len(first) == 0 {
			return nil, errNoAPI
		}
		return first, nil
	}
	es, err := c.listing(r.Host)
	if err != nil && len(first) == 0 {
		return nil, err
	}
	es = slices.DeleteFunc(es, func(e *endpoint) bool { return slices.Contains(first, e) })
	return append(first, es...), nil
}

// of gives the endpoint of a call that names none.
func (c *Client) of(k call) (*endpoint, error) {
	if k.access.Do != auth.Pull {
		es, err := c.able(k.repo.Host, hosts.Push)
		if err != nil {
			return nil, err
		}
		return es[0], nil
	}
	h, err := c.host(k.repo.Host)
	if err != nil {
		return nil, err
	}
	return h.server, nil
}
