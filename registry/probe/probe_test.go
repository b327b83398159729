package probe_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/probe"
	"github.com/ocifs/ocifs/registry/ref"
)

// probed starts a registry that answers as h does, and gives a client of it that
// comes as jane, where she is given a password, and a repository.
func probed(t *testing.T, h http.HandlerFunc, password string) (*registry.Client, ref.Repository) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	r := ref.Repository{Host: strings.TrimPrefix(s.URL, "http://"), Path: "a/b"}
	o := registry.Options{PlainHTTP: []string{r.Host}, RetryMaxWait: time.Second, Retries: -1}
	if password != "" {
		o.Credentials = jane(password)
	}
	c := registry.New(o)
	t.Cleanup(c.Close)
	return c, r
}

func TestARegistrySaysWhatItAsksFor(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		header  http.Header
		schemes []string
		realm   string
		err     error
	}{
		"nothing":        {status: 200},
		"a password":     {401, http.Header{"Www-Authenticate": {`BASIC realm="x"`}}, []string{"basic"}, "", nil},
		"a token":        {401, http.Header{"Www-Authenticate": {`Negotiate, Bearer realm="https://auth.example/t",service=s`}}, []string{"negotiate", "bearer"}, "auth.example", nil},
		"another path":   {404, nil, nil, "", registry.ErrNotFound},
		"out of order":   {500, nil, nil, "", registry.ErrServer},
		"a web page":     {200, http.Header{"Content-Type": {"text/html; charset=utf-8"}}, nil, "", registry.ErrServer},
		"what is denied": {403, nil, nil, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			cl, r := probed(t, func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path != "/v2/" || req.Header.Get("Authorization") != "" {
					t.Errorf("asked for %s, by %q", req.URL, req.Header.Get("Authorization"))
				}
				for k, v := range c.header {
					w.Header()[k] = v
				}
				w.WriteHeader(c.status)
			}, "a secret that nobody asked for")
			g, err := probe.Greet(t.Context(), cl, r.Host, "")
			if !errors.Is(err, c.err) || err == nil && (g.Status != c.status || g.TLS != nil) {
				t.Errorf("got %+v, %v; want %d, %v", g, err, c.status, c.err)
			}
			if err == nil && (!reflect.DeepEqual(g.Schemes, c.schemes) || g.Realm != c.realm) {
				t.Errorf("it asks for %q from %q, want %q from %q", g.Schemes, g.Realm, c.schemes, c.realm)
			}
		})
	}
}

// Why a registry can't be greeted by TLS is an error that can be told apart.
func TestWhyTLSFailsCanBeTold(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	c := registry.New(registry.Options{})
	defer c.Close()
	_, err := probe.Greet(t.Context(), c, strings.TrimPrefix(s.URL, "https://"), "")
	if unknown := new(x509.UnknownAuthorityError); !errors.As(err, unknown) || !errors.Is(err, registry.ErrUnreachable) {
		t.Errorf("a foreign authority gives %v", err)
	}
}

// A credential that is let in is told from one that isn't, from one that isn't asked
// for, and from none.
func TestLoggingInSaysWhoWasLetIn(t *testing.T) {
	const right = "open sesame"
	open := func(w http.ResponseWriter, _ *http.Request) {}
	basic := func(w http.ResponseWriter, req *http.Request) {
		if _, p, _ := req.BasicAuth(); p != right {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	// As Docker Hub: anyone gets a token, but for those with a wrong password.
	tokens := func(w http.ResponseWriter, req *http.Request) {
		_, p, given := req.BasicAuth()
		switch {
		case req.URL.Path == "/token" && given && p != right:
			w.WriteHeader(http.StatusUnauthorized)
		case req.URL.Path == "/token":
			_ = json.NewEncoder(w).Encode(map[string]string{"token": "t"})
		case req.Header.Get("Authorization") != "Bearer t":
			w.Header().Set("WWW-Authenticate", `Bearer realm="/token",service="s"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	for name, c := range map[string]struct {
		registry http.HandlerFunc
		password string
		account  string
		err      error
	}{
		"open, none":    {open, "", "", nil},
		"open, some":    {open, right, "", nil},
		"basic, none":   {basic, "", "", registry.ErrDenied},
		"basic, right":  {basic, right, "jane", nil},
		"basic, wrong":  {basic, "wrong", "", registry.ErrDenied},
		"tokens, none":  {tokens, "", "", nil},
		"tokens, right": {tokens, right, "jane", nil},
		"tokens, wrong": {tokens, "wrong", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			cl, r := probed(t, c.registry, c.password)
			for _, r := range []ref.Repository{r, {Host: r.Host}} {
				account, err := probe.LogIn(t.Context(), cl, r)
				account, _, _ = strings.Cut(account, "#")
				if account != c.account || !errors.Is(err, c.err) {
					t.Errorf("%s: let in as %q, %v; want %q, %v", r, account, err, c.account, c.err)
				}
			}
		})
	}
}

// The first request, which makes the connection, doesn't count.
func TestRoundTripsAreOfAConnectionThatIsThere(t *testing.T) {
	var n atomic.Int32
	connections := map[string]bool{}
	cl, r := probed(t, func(w http.ResponseWriter, req *http.Request) {
		connections[req.RemoteAddr] = true // one after the other
		if n.Add(1) == 1 {
			time.Sleep(300 * time.Millisecond)
		}
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "no")
	}, "")
	took, err := probe.Latency(t.Context(), cl, r.Host, 1)
	if err != nil || took <= 0 || took >= 300*time.Millisecond {
		t.Errorf("it takes %s, %v", took, err)
	}
	if n.Load() != 2 || len(connections) != 1 {
		t.Errorf("%d requests by %d connections, want 2 by one", n.Load(), len(connections))
	}
}

// What Docker Hub tells of its limits is told, and it isn't counted.
//
// Behaviour: rate.hub
func TestRateLimitsAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		limit, remaining string
		want             registry.RateLimit
		ok               bool
	}{
		"as Docker Hub": {"100;w=21600", "76;w=21600", registry.RateLimit{Limit: 100, Remaining: 76, Window: 21600}, true},
		"no window":     {"100", "0", registry.RateLimit{Limit: 100}, true},
		"none":          {"", "", registry.RateLimit{}, false},
		"nonsense":      {"many", "-1;w=x", registry.RateLimit{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			cl, r := probed(t, func(w http.ResponseWriter, req *http.Request) {
				if req.Method != http.MethodHead {
					t.Errorf("%s is counted", req.Method)
				}
				w.Header().Set("RateLimit-Limit", c.limit)
				w.Header().Set("RateLimit-Remaining", c.remaining)
			}, "")
			got, ok, err := probe.RateLimit(t.Context(), cl, r, "latest")
			got.Seen = time.Time{}
			if err != nil || ok != c.ok || ok && got != c.want {
				t.Errorf("got %+v, %t, %v; want %+v, %t", got, ok, err, c.want, c.ok)
			}
		})
	}
}

// jane is a credential for every registry: the password of jane.
type jane string

func (p jane) Credential(context.Context, ref.Repository) (auth.Credential, error) {
	return auth.Credential{Username: "jane", Password: string(p), Origin: "a test"}, nil
}
