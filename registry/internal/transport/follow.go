package transport

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// ErrAddress is matched by errors about where a server sends us: nonsense, a
// loop, or a place that isn't safe.
var ErrAddress = errors.New("bad address from the server")

// maxRedirects is how many redirects are followed; real registries use one or
// two.
const maxRedirects = 8

// Resolve is the one policy for addresses that a server supplies, be it in a
// redirect, a token realm or a Link. It gives the address that to means in an
// answer to from.
//
// What was asked by https is never continued by http: anyone between could read
// it. A server behind a TLS proxy often doesn't know of that proxy and names
// itself by http; the same host is then asked by https, as before.
func Resolve(from *url.URL, to string) (*url.URL, error) {
	u, err := from.Parse(strings.TrimSpace(to))
	if err == nil { // "//::" is taken for a reference, and isn't an address for that
		_, err = url.Parse(u.String())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %q is no URL", ErrAddress, redact(to))
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%w: %q is no http address", ErrAddress, redact(to))
	}
	if from.Scheme == "https" && u.Scheme == "http" {
		// A port that is neither http's nor its own is another server.
		itself := u.Port() == "" || u.Port() == "80" || u.Port() == from.Port()
		if !itself || !strings.EqualFold(u.Hostname(), from.Hostname()) {
			return nil, fmt.Errorf("%w: from https://%s to http://%s, which isn't encrypted", ErrAddress, from.Host, u.Host)
		}
		u.Scheme, u.Host = from.Scheme, from.Host
	}
	u.User, u.Fragment = nil, ""
	u.RawQuery = strings.ReplaceAll(u.RawQuery, " ", "%20") // which would end the address where it is sent
	return u, nil
}

// SameOrigin says whether two addresses have scheme, host and port in common.
// Only then does a credential for the one go to the other. A default port is
// equal to none.
func SameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && SameServer(a, b)
}

// SameServer says whether two addresses are of one host and port. The scheme may
// differ, as it does where a loopback host turns out to speak plain HTTP.
func SameServer(a, b *url.URL) bool { return hostPort(a) == hostPort(b) }

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// redact leaves out the query, as presigned addresses are secrets, and a user with a
// password.
func redact(s string) string {
	s, _, _ = strings.Cut(s, "?")
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = "…" + s[i:]
	}
	if len(s) > 200 {
		s = s[:200]
	}
	return s
}

// Elsewhere is the error of a request that failed at a server where another had led it.
type Elsewhere struct {
	Host string // host[:port] of the server that failed
	Err  error
}

func (e *Elsewhere) Error() string {
	return "at " + e.Host + ", where the registry led: " + e.Err.Error()
}

func (e *Elsewhere) Unwrap() error { return e.Err }

// Follow follows redirects: all of GET and HEAD, and of other methods 307 and 308,
// which don't change the method. The credential stays behind when the origin changes.
type Follow struct{ Next http.RoundTripper }

// RoundTrip sends the request to where it is answered. The request of the answer
// is the last one sent.
func (t *Follow) RoundTrip(req *http.Request) (*http.Response, error) {
	from := req.URL.Host
	for range maxRedirects {
		resp, err := t.Next.RoundTrip(req)
		if err != nil && req.URL.Host != from {
			err = &Elsewhere{req.URL.Host, err}
		}
		if err != nil {
			return nil, err
		}
		resp.Request = req
		reads := req.Method == http.MethodGet || req.Method == http.MethodHead
		switch resp.StatusCode {
		case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			if !canRewind(req) {
				return resp, nil
			}
		case http.StatusMovedPermanently, http.StatusFound:
			if !reads {
				return resp, nil
			}
		case http.StatusSeeOther:
			if !reads || PlanOf(req.Context()).Here {
				return resp, nil
			}
		default:
			return resp, nil
		}
		location := resp.Header.Get("Location")
		Aside(resp)
		if location == "" {
			return nil, fmt.Errorf("%w: %d without a Location", ErrAddress, resp.StatusCode)
		}
		u, err := Resolve(req.URL, location)
		if err != nil {
			return nil, err
		}
		next := req.Clone(req.Context())
		next.URL, next.Host, next.Response = u, "", resp // leads back to the first
		if err := Rewind(next); err != nil {
			return nil, err
		}
		if !SameOrigin(req.URL, u) {
			next.Header.Del("Authorization")
		}
		req = next
	}
	return nil, fmt.Errorf("%w: more than %d redirects, the last to %s", ErrAddress, maxRedirects, redact(req.URL.String()))
}
