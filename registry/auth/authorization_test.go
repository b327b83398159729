package auth

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/registry/internal/transport"
)

// Whatever is offered, in whatever form, the strongest that is known is answered.
//
// Behaviour: auth.challenges
func TestTheStrongestKnownChallengeIsAnswered(t *testing.T) {
	const bearer, password = "GET /v2/a/b T", "GET /v2/a/b jane:secret"
	for name, c := range map[string]struct {
		headers []string // @ stands for the server
		want    string   // the request that is let in; "": none is made
	}{
		"bearer":                     {[]string{`Bearer realm="@/token",service="s",scope="repository:a/b:pull"`}, bearer},
		"basic":                      {[]string{`Basic realm="x"`}, password},
		"upper case":                 {[]string{`BASIC realm="x"`}, password},
		"upper case, all of it":      {[]string{`BEARER REALM="@/token",SERVICE="s"`}, bearer},
		"no realm for basic":         {[]string{`Basic`}, password},
		"both in one, basic first":   {[]string{`Basic realm="x", Bearer realm="@/token",service="s"`}, bearer},
		"both in two headers":        {[]string{`Basic realm="x"`, `Bearer realm="@/token"`}, bearer},
		"the other way round":        {[]string{`Bearer realm="@/token"`, `Basic realm="x"`}, bearer},
		"Negotiate first":            {[]string{`Negotiate`, `Basic realm="x"`}, password},
		"Negotiate with a token68":   {[]string{`Negotiate YII=, NTLM, Bearer realm="@/token"`}, bearer},
		"no service":                 {[]string{`Bearer realm="@/token"`}, bearer},
		"a relative realm":           {[]string{`Bearer realm="/token",service="s"`}, bearer},
		"a realm without quotes":     {[]string{`Bearer realm=@/token`}, bearer},
		"spaces around":              {[]string{`Bearer realm = "@/token" , service = "s"`}, bearer},
		"a realm that is no address": {[]string{`Bearer realm="ftp://x/y"`, `Basic realm="x"`}, password},
		"an empty realm":             {[]string{`Bearer realm=""`, `Basic realm="x"`}, password},
		"nothing that is known":      {[]string{`Negotiate`, `Digest realm="x",nonce="y"`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var f *fake
			f = serve(t, false, func(w http.ResponseWriter, req *http.Request) {
				if user, _, _ := req.BasicAuth(); req.URL.Path == "/token" {
					if user != "jane" {
						t.Errorf("a token for %q", user)
					}
					_, _ = io.WriteString(w, `{"token":"T"}`)
				} else if req.Header.Get("Authorization") == "" {
					for _, h := range c.headers {
						w.Header().Add("WWW-Authenticate", strings.ReplaceAll(h, "@", f.URL))
					}
					w.WriteHeader(http.StatusUnauthorized)
				}
			})
			a := f.by(always(Credential{Username: "jane", Password: "secret"}))
			status, _, err := f.send(t.Context(), a, http.MethodGet, "a/b", "", Access{})
			asked := f.took()
			if c.want == "" {
				if !errors.Is(err, ErrChallenge) || len(asked) != 1 {
					t.Errorf("got %d, %v after %q", status, err, asked)
				}
			} else if err != nil || status != http.StatusOK || asked[len(asked)-1] != c.want {
				t.Errorf("got %d, %v after %q; want %q at last", status, err, asked, c.want)
			}
		})
	}
}

// A realm is an address like any other that a server supplies: a secret that was to
// go by https goes nowhere else.
//
// Behaviour: auth.challenges, address.encrypted
func TestARealmIsNotAskedInPlainText(t *testing.T) {
	plain := serve(t, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"T"}`) })
	for name, c := range map[string]struct {
		realm string // @ stands for the registry's host
		fine  bool
	}{
		"another server":                    {plain.URL + "/token", false},
		"another port":                      {"http://127.0.0.1:1/token", false},
		"the same host, behind a TLS proxy": {"http://@/token", true},
	} {
		t.Run(name, func(t *testing.T) {
			var f *fake
			f = serve(t, true, func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/token" {
					_, _ = io.WriteString(w, `{"token":"T"}`)
				} else if who(req) != "T" {
					challenge(w, `Bearer realm="`+strings.ReplaceAll(c.realm, "@", f.repo("").Host)+`"`)
				}
			})
			status, _, err := f.send(t.Context(), f.by(always(Credential{Username: "u", Password: "p"})), http.MethodGet, "a/b", "", Access{})
			if c.fine && (err != nil || status != http.StatusOK) || !c.fine && !errors.Is(err, transport.ErrAddress) {
				t.Errorf("got %d, %v", status, err)
			}
		})
	}
	plain.want(t)
}

// Where the registry itself is asked by http, its credential goes to no token
// endpoint that isn't encrypted, unless that was allowed.
func TestACredentialGoesToNoPlainTokenEndpoint(t *testing.T) {
	f := serve(t, false, func(w http.ResponseWriter, _ *http.Request) { challenge(w, `Bearer realm="/token"`) })
	for _, c := range []Credential{{Username: "u", Password: "p"}, {IdentityToken: "i"}} {
		a := f.by(always(c))
		a.PlainOK = nil
		if _, _, err := f.send(t.Context(), a, http.MethodGet, "a/b", "", Access{}); !errors.Is(err, ErrChallenge) {
			t.Errorf("got %v", err)
		}
		f.want(t, "GET /v2/a/b")
	}
}

// A registry of Harbor answers 403 to its own cookie, where it comes with a token.
//
// Behaviour: auth.cookies
func TestCookiesAreNeverKept(t *testing.T) {
	f := serve(t, false, func(w http.ResponseWriter, req *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "sid", Value: "1", Path: "/"})
		switch {
		case req.Header.Get("Cookie") != "":
			w.WriteHeader(http.StatusForbidden)
		case req.URL.Path == "/token":
			_, _ = io.WriteString(w, `{"token":"T"}`)
		case who(req) != "T":
			challenge(w, `Bearer realm="/token"`)
		}
	})
	a := f.by(nil)
	for range 2 {
		f.get(t, a, "a/b", http.StatusOK)
	}
	f.want(t, "GET /v2/a/b", "GET /token", "GET /v2/a/b T", "GET /v2/a/b T")
}
