package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/probe"
	"github.com/ocifs/ocifs/registry/ref"
)

const (
	// roundTrips is of how many requests the time is the median, and farAway what a
	// person notices.
	roundTrips = 5
	farAway    = 500 * time.Millisecond
	// soonOver is when a certificate is renewed at the latest, where somebody takes
	// care of it.
	soonOver = 7 * 24 * time.Hour
	// patience is the longest that doctor lets a registry ask it to wait.
	patience = 5 * time.Second
)

// visit is one look at a registry.
type visit struct {
	target
	plain  bool // it was named by --plain-http
	client *registry.Client
	finder *hosts.Finder // of what is configured, as the client has it
	source auth.Source
	cred   auth.Credential // that is tried first
}

// examineHost finds out whether the registry can be reached, lets the credential in,
// and what it offers. Each step needs the one before.
func (d *diagnosis) examineHost(ctx context.Context, t target, s settings, source auth.Source, cred auth.Credential) {
	v := &visit{target: t, plain: slices.Contains(s.plainHTTP, t.host), finder: s.finder(nil), source: source, cred: cred}
	v.client = registry.New(registry.Options{
		UserAgent: "ocifs/" + versionString(), Credentials: source, PlainHTTP: s.plainHTTP, RetryMaxWait: patience,
		Config: v.finder,
	})
	defer v.client.Close()
	if t.typed != "" {
		d.do(ctx, "name", func(context.Context) check { return v.understood() })
	}
	if c := d.do(ctx, "configured", func(context.Context) check { return v.configured() }); c.State == isWrong {
		return
	}
	d.examineMirrors(ctx, v)
	proxy, _ := find(ctx, d, "proxy", checkFor, func(context.Context) (*url.URL, check) { return v.proxy() })
	if c := d.do(ctx, "address", func(ctx context.Context) check { return v.address(ctx, proxy) }); c.State != isOK {
		return
	}
	if c := d.do(ctx, "connection", func(ctx context.Context) check { return v.connection(ctx, proxy) }); c.State != isOK {
		return
	}
	type greeted struct {
		probe.Greeting
		err error
	}
	g, c := find(ctx, d, "encryption", checkFor, func(ctx context.Context) (greeted, check) {
		g, err := probe.Greet(ctx, v.client, v.host, "")
		return greeted{g, err}, v.encryption(g, err)
	})
	if c.State != isOK && c.State != isWarning {
		return
	}
	if c := d.do(ctx, "api", func(context.Context) check { return v.api(g.Greeting, g.err) }); c.State != isOK {
		return
	}
	d.do(ctx, "round-trip", v.roundTrip)
	d.do(ctx, "login", func(ctx context.Context) check { return v.login(ctx, g.Greeting) })
	d.examineOffers(ctx, v)
}

// understood tells what was made of what a person typed.
func (v *visit) understood() check {
	name := v.name()
	if v.object != "" {
		name = ref.Reference{Repository: v.repo, Object: v.object}.String()
	}
	if strings.HasPrefix(v.typed, "http://") && !v.plain && !ref.IsLoopback(v.host) {
		return warning("if it speaks plain HTTP: --plain-http "+v.host, "%s is taken for %s, which is asked by https", v.typed, name)
	}
	return fine("%s is taken for %s", v.typed, name)
}

// proxy tells which proxy counts, where one does.
func (v *visit) proxy() (*url.URL, check) {
	of := &http.Request{URL: &url.URL{Scheme: "https", Host: ref.APIHost(v.host)}}
	if v.plain {
		of.URL.Scheme = "http"
	}
	proxy, err := http.ProxyFromEnvironment(of) // as net/http's transports do
	if err != nil {
		return nil, wrong("mend HTTPS_PROXY (HTTP_PROXY for a host of --plain-http)", "the proxy of the environment: %v", err)
	}
	if proxy == nil {
		return nil, check{}
	}
	bare := *proxy
	bare.User = nil
	proxy = &bare
	return proxy, fine("%s is asked by way of %s, as HTTPS_PROXY or HTTP_PROXY has it and NO_PROXY doesn't say otherwise", v.host, proxy)
}

// server is the host and the port that is connected to: the proxy's, where there is one.
func (v *visit) server(proxy *url.URL) (host, port string) {
	u := &url.URL{Host: ref.APIHost(v.host)}
	if h, err := v.client.HostState(v.host); err == nil { // which the registry itself comes last in
		if of, err := url.Parse(h.Servers[len(h.Servers)-1].URL); err == nil {
			u = of
		}
	}
	if v.plain {
		u.Scheme = "http"
	}
	if proxy != nil {
		u = proxy
	}
	port = u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	if port == "" {
		port = "443"
	}
	return u.Hostname(), port
}

// address looks the server's name up.
func (v *visit) address(ctx context.Context, proxy *url.URL) check {
	host, _ := v.server(proxy)
	if net.ParseIP(host) != nil {
		return fine("%s is an address", host)
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return v.unreachable(err)
	}
	slices.Sort(addresses)
	return fine("%s is %s", host, strings.Join(slices.Compact(addresses), ", "))
}

// connection connects to the server.
func (v *visit) connection(ctx context.Context, proxy *url.URL) check {
	host, port := v.server(proxy)
	began := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil && proxy == nil && port == "443" && v.insecure() != "" { // without TLS it may be at http's port
		port = "80"
		if plain, failed := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, port)); failed == nil {
			conn, err = plain, nil
		}
	}
	if err != nil {
		return v.unreachable(err)
	}
	defer conn.Close()
	return fine("%s answers on port %s within %s", conn.RemoteAddr().(*net.TCPAddr).IP, port, short(time.Since(began)))
}

// encryption tells what the connection of the greeting was like.
func (v *visit) encryption(g probe.Greeting, err error) check {
	switch {
	case g.Status == 0:
		return v.unreachable(err)
	case g.TLS == nil && ref.IsLoopback(v.host):
		return fine("none: it speaks plain HTTP, as a registry of this machine may")
	case g.TLS == nil:
		return warning("have the registry speak TLS, if others share the network", "none, as %s says: passwords and images can be read on their way", cmp.Or(v.insecure(), "--plain-http"))
	case len(g.TLS.PeerCertificates) == 0:
		return unknown("", "the server showed no certificate")
	}
	if file := v.insecure(); file != "" {
		return warning("give it a certificate that the system trusts, or put its authority's into /etc/docker/certs.d/"+v.host+"/ca.crt", "%s, but not verified, as %s says: somebody else may pose as it", tls.VersionName(g.TLS.Version), file)
	}
	leaf := g.TLS.PeerCertificates[0]
	issuer := leaf.Issuer.CommonName
	if issuer == "" {
		issuer = strings.Join(leaf.Issuer.Organization, " ")
	}
	told := fmt.Sprintf("%s, signed by %s until %s", tls.VersionName(g.TLS.Version), issuer, leaf.NotAfter.UTC().Format(time.DateOnly))
	if time.Until(leaf.NotAfter) < soonOver {
		return warning("have it renewed by whoever runs the registry", "%s, which is soon", told)
	}
	return fine("%s", told)
}

// api tells what /v2/ says to a stranger.
func (v *visit) api(g probe.Greeting, err error) check {
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return wrong("is the host right? Some registries have another for their API than for their web pages", "/v2/ isn't there (%d): this is no registry", g.Status)
	case err != nil:
		return v.unreachable(err)
	case slices.Contains(g.Schemes, "bearer"):
		return fine("/v2/ answers %d, and asks for a token from %s", g.Status, g.Realm)
	case slices.Contains(g.Schemes, "basic"):
		return fine("/v2/ answers %d, and asks for a user name and a password", g.Status)
	case len(g.Schemes) > 0:
		return wrong("ocifs knows tokens and passwords: ask whoever runs it", "/v2/ answers %d, and asks for %s", g.Status, strings.Join(g.Schemes, ", "))
	}
	return fine("/v2/ answers %d, and asks nobody who they are", g.Status)
}

func (v *visit) roundTrip(ctx context.Context) check {
	took, err := probe.Latency(ctx, v.client, v.host, roundTrips)
	if err != nil {
		return v.unreachable(err)
	}
	if took > farAway {
		return warning("a mirror or a pull-through cache that is nearer helps", "%s a request (the median of %d): listing and opening takes at least that", short(took), roundTrips)
	}
	return fine("%s a request (the median of %d)", short(took), roundTrips)
}

// login tells who the registry lets in.
func (v *visit) login(ctx context.Context, g probe.Greeting) check {
	account, err := probe.LogIn(ctx, v.client, v.asked())
	denied := errors.Is(err, registry.ErrDenied)
	var token *auth.TokenError
	var refusal *registry.Error
	const noTokenOfHost = 403 // some give tokens for a repository alone
	switch {
	case denied && v.repo.Path == "" && errors.As(err, &token) && token.Status == noTokenOfHost:
		return unknown("name a repository: ocifs doctor "+v.host+"/REPOSITORY", "its tokens are for a repository, not for the whole host")
	case denied && v.cred.Empty() && v.repo.Path == "":
		return warning("log in: docker login "+v.host, "nobody is let in without a credential, and there is none")
	case denied && v.cred.Empty():
		return wrong("log in: docker login "+v.host, "nobody is let in without a credential, and there is none for %s", v.repo)
	case denied && errors.As(err, &refusal) && refusal.Credential != "":
		return wrong(again(refusal.Hint), "the credential of %s is refused: the password is wrong, or over", refusal.Credential)
	case denied:
		return wrong(again(v.cred.Hint), "the credential of %s is refused: the password is wrong, or over", v.cred.Origin)
	case err != nil:
		return v.unreachable(err)
	case account != "" && account == v.cred.Account():
		return fine("the credential of %s is accepted", v.cred.Origin)
	case account != "":
		other, _ := auth.OfAccount(ctx, v.source, v.asked(), account)
		return warning(again(v.cred.Hint), "the credential of %s is refused: the password is wrong, or over; that of %s is accepted", v.cred.Origin, other.Origin)
	case v.cred.Empty() && len(g.Schemes) > 0:
		return fine("there is no credential: what is public can be read")
	case v.cred.Empty():
		return fine("there is no credential, and none is asked for")
	case len(g.Schemes) == 0:
		return fine("the credential of %s isn't asked for", v.cred.Origin)
	}
	return wrong(again(v.cred.Hint)+"; or log out, if all that you need is public", "the credential of %s is refused: the password is wrong, or over; what is public can be read all the same", v.cred.Origin)
}

// again says how a person replaces a credential.
func again(hint string) string {
	if hint == "" {
		return "ask whoever gave you the credential"
	}
	return "log in again: " + hint
}

// short is a time as people say it.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}
