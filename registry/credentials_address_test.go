package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// reads are the ways to read from a registry that has layer in an image v1.
var reads = map[string]func(c *Client, r ref.Repository) error{
	"GET manifest": func(c *Client, r ref.Repository) error {
		_, err := c.Manifest(context.Background(), r, "v1")
		return err
	},
	"HEAD manifest": func(c *Client, r ref.Repository) error {
		_, err := c.ResolveManifest(context.Background(), r, "v1")
		return err
	},
	"GET blob": func(c *Client, r ref.Repository) error {
		got, err := readBlob(c, r, layer)
		if err == nil && got != layer {
			err = fmt.Errorf("it is %q", got)
		}
		return err
	},
	"HEAD blob": func(c *Client, r ref.Repository) error {
		_, err := c.ResolveBlob(context.Background(), r, digest.FromString(layer))
		return err
	},
}

// leadTo redirects whoever shows a credential to the same path at another origin, once:
// what was led is answered.
func leadTo(origin string) registrytest.Quirk {
	return func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
		if x.URL.Query().Has("led") || x.Header.Get("Authorization") == "" {
			return next()
		}
		return registrytest.Plain(http.StatusTemporaryRedirect, "", "Location", origin+x.URL.Path+"?led=1")
	}
}

// A redirect takes the credential along where scheme, host and port stay what they are,
// and not elsewhere: not to another host, be its name below the first one's, and not to
// another port. A default port is the same as none.
//
// Behaviour: address.origin
func TestTheCredentialStaysOnItsOrigin(t *testing.T) {
	for origin, along := range map[string]bool{
		"": true, "http://registry.example": true, "http://registry.example:80": true, "http://REGISTRY.example": true,
		"http://cdn.registry.example": false, "http://registry.example:8080": false, "http://other.example": false,
		"http://registry.example.other.example": false, "http://jane@other.example": false,
	} {
		for what, read := range reads {
			for _, tokens := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s to %s, tokens %v", what, origin, tokens), func(t *testing.T) {
					s := registrytest.Start(t, janes(tokens))
					s.Image("a/b", "v1", []byte(layer))
					other := s.Elsewhere(t, registrytest.Options{})
					c := newClient(Options{PlainHTTP: []string{"registry.example"}, Credentials: creds{"registry.example": jane}}, quick())
					t.Cleanup(c.Close)
					lead(c, map[string]*registrytest.Server{
						"registry.example:80": s, "REGISTRY.example:80": s, "cdn.registry.example:80": other, "registry.example:8080": other,
						"other.example:80": other, "registry.example.other.example:80": other,
					})
					s.On(what, leadTo(origin))
					if err := read(c, ref.Repository{Host: "registry.example", Path: "a/b"}); err != nil {
						t.Fatalf("%v: %q", err, s.Asked())
					}
					q := s.Requests()[len(s.Requests())-1]
					if q.Query != "led=1" || (q.Header.Get("Authorization") != "") != along {
						t.Errorf("%s at %s with %q", q, q.Host, q.Header.Get("Authorization"))
					}
				})
			}
		}
	}
}

// The way from http to https is open, without the credential; that from https to http
// is not, but to the same server, which may be behind a proxy that it doesn't know of.
//
// Behaviour: address.origin, address.encrypted
func TestTheWayToHTTPIsClosed(t *testing.T) {
	for what, read := range reads {
		t.Run(what, func(t *testing.T) {
			plain, secure := registrytest.Start(t, janes(false)), registrytest.Start(t, registrytest.Options{TLS: true, Login: janes(false).Login})
			for _, s := range []*registrytest.Server{plain, secure} {
				s.Image("a/b", "v1", []byte(layer))
			}
			c := knowing(t, Options{Credentials: creds{plain.Host: jane, secure.Host: jane}}, quick(), plain, secure)
			secure.On(what, leadTo(plain.URL))
			if err := read(c, in(secure)); !errors.Is(err, ErrServer) || !strings.Contains(err.Error(), "encrypted") || plain.Count("* *") != 0 {
				t.Errorf("to http: %v, asked %q", err, plain.Asked())
			}
			for _, itself := range []string{"http://" + secure.Host, "http://127.0.0.1", "http://127.0.0.1:80"} {
				secure.On(what, leadTo(itself))
				secure.Forget()
				if err := read(c, in(secure)); err != nil {
					t.Errorf("to itself, %s: %v", itself, err)
				}
				if q := secure.Requests()[len(secure.Requests())-1]; q.Query != "led=1" || !q.Credential.Valid {
					t.Errorf("%s: %s with %v", itself, q, q.Credential)
				}
			}
			open := secure.Elsewhere(t, registrytest.Options{TLS: true})
			c = knowing(t, Options{Credentials: creds{plain.Host: jane}}, quick(), plain, open)
			plain.On(what, leadTo(open.URL))
			if err := read(c, in(plain)); err != nil {
				t.Errorf("to https: %v", err)
			}
			if q := secure.Requests()[len(secure.Requests())-1]; q.Server != "elsewhere" || q.Header.Get("Authorization") != "" {
				t.Errorf("%s with %v", q, q.Credential)
			}
		})
	}
}

// A token's realm gets the credential wherever it is: that is what it is for. But not
// in plain text, and never where a registry that is asked by https names an http one.
//
// Behaviour: address.origin, address.encrypted
func TestTheRealmOfTokensGetsTheCredential(t *testing.T) {
	for name, c := range map[string]struct {
		registry registrytest.Options
		realm    registrytest.Options
		at       string // in place of the realm's own address
		want     error
	}{
		"loopback":          {janes(true), registrytest.Options{}, "", nil},
		"https":             {janes(true), registrytest.Options{TLS: true}, "", nil},
		"https to https":    {registrytest.Options{TLS: true, Login: janes(true).Login}, registrytest.Options{TLS: true}, "", nil},
		"https to loopback": {registrytest.Options{TLS: true, Login: janes(true).Login}, registrytest.Options{}, "", ErrServer},
		"http":              {janes(true), registrytest.Options{}, "http://tokens.example", ErrDenied},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, c.registry)
			s.Image("a/b", "v1", []byte(layer))
			tokens := s.Elsewhere(t, c.realm)
			at := c.at
			if at == "" {
				at = tokens.URL
			}
			s.On("* manifest", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
				a := next()
				if v := a.Header.Get("WWW-Authenticate"); v != "" {
					a.Header.Set("WWW-Authenticate", strings.Replace(v, s.URL, at, 1))
				}
				return a
			})
			cl := knowing(t, Options{Credentials: creds{s.Host: jane}}, quick(), s, tokens)
			lead(cl, map[string]*registrytest.Server{"tokens.example:80": tokens})
			_, err := cl.Manifest(context.Background(), in(s), "v1")
			if !errors.Is(err, c.want) {
				t.Error(err)
			}
			got := 0
			for _, q := range s.Requests() {
				if q.Kind == "token" && q.Credential.User == "jane" && q.Credential.Valid {
					got++
				}
			}
			if want := map[bool]int{true: 1}[c.want == nil]; got != want {
				t.Errorf("the credential came %d times to the realm: %v", got, err)
			}
		})
	}
}

// A session on another server gets the bytes and never the credential, whatever is
// asked of it: to take all, a part, how far it is, to be cancelled. That goes for a
// session that is led elsewhere by a redirect as well.
//
// Behaviour: address.elsewhere, address.relative
func TestASessionOnAnotherServerGetsBytesOnly(t *testing.T) {
	content := strings.Repeat("0123456789", 10)
	for name, c := range map[string]struct {
		do    func(s, other *registrytest.Server)
		fails bool
		want  string // what the other server is asked, with what is cancelled at the end
	}{
		"in one piece": {func(_, _ *registrytest.Server) {}, false, "PUT"},
		"that broke off": {func(_, other *registrytest.Server) {
			other.First(1, "PUT upload", registrytest.Take(30))
			other.Change(func(t *registrytest.Traits) { t.Sessions = other.URL })
		}, false, "PUT GET PATCH PUT"},
		"in chunks": {func(s, other *registrytest.Server) {
			other.First(1, "PUT upload", registrytest.Status(413, ""))
			for _, at := range []*registrytest.Server{s, other} {
				at.Change(func(t *registrytest.Traits) { t.ChunkMin = 60 })
			}
		}, false, "PUT PATCH PATCH PUT DELETE"},
		"that is refused": {func(_, other *registrytest.Server) {
			other.On("PUT upload", registrytest.Status(507, ""))
		}, true, "PUT DELETE"},
		"that asks for a credential": {func(_, other *registrytest.Server) {
			other.On("* upload", registrytest.Challenge(`Basic realm="elsewhere"`))
		}, true, ""},
		"by a redirect": {func(s, other *registrytest.Server) {
			s.Change(func(t *registrytest.Traits) { t.Sessions = "" })
			s.On("PUT upload", registrytest.Redirect(other.URL))
		}, false, "PUT"},
		"by a redirect of the POST": {func(s, other *registrytest.Server) {
			s.Change(func(t *registrytest.Traits) { t.Sessions = "" }) // where the address is relative
			s.On("POST upload", registrytest.Redirect(other.URL))
		}, false, "POST PUT"},
	} {
		for _, tokens := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, tokens %v", name, tokens), func(t *testing.T) {
				s := registrytest.Start(t, janes(tokens))
				other := s.Elsewhere(t, registrytest.Options{})
				s.Change(func(t *registrytest.Traits) { t.Sessions = other.URL })
				c.do(s, other)
				cl := knowing(t, Options{Credentials: creds{s.Host: jane, other.Host: jane}}, quick(), s, other)
				_, err := sendBlob(context.Background(), cl, in(s), content)
				cl.Close() // so that what is given up is cancelled
				if (err != nil) != c.fails {
					t.Errorf("%v: %q", err, s.Asked())
				}
				if got := string(s.ReadBlob("a/b", digest.FromString(content))); !c.fails && got != content {
					t.Errorf("it has %q", got)
				}
				var methods []string
				for _, q := range s.Requests() {
					if q.Server == "" {
						continue
					}
					methods = append(methods, q.Method)
					if q.Header.Get("Authorization") != "" {
						t.Errorf("%s with %q", q, q.Header.Get("Authorization"))
					}
				}
				slices.SortStableFunc(methods, func(a, b string) int { return strings.Count(a, "DELETE") - strings.Count(b, "DELETE") })
				if c.want != "" && strings.Join(methods, " ") != c.want {
					t.Errorf("the other server was asked %q, want %s", s.Asked(), c.want)
				}
			})
		}
	}
}

// However the address of a session is written, it is of the answer's own; its query is
// kept as it is, to the letter, and the digest is added.
//
// Behaviour: address.relative
func TestTheAddressOfASessionIsTakenAsItIs(t *testing.T) {
	for name, location := range map[string]func(s *registrytest.Server, path string) string{
		"absolute":         func(s *registrytest.Server, path string) string { return s.URL + path },
		"a path":           func(_ *registrytest.Server, path string) string { return path },
		"without a scheme": func(s *registrytest.Server, path string) string { return "//" + s.Host + path },
		"relative to itself": func(_ *registrytest.Server, path string) string {
			return path[strings.Index(path, "/uploads/")+len("/uploads/"):]
		},
		"with dots":           func(_ *registrytest.Server, path string) string { return "../../../../../.." + path },
		"with a fragment":     func(_ *registrytest.Server, path string) string { return path + "#here" },
		"with blanks around":  func(_ *registrytest.Server, path string) string { return " " + path + " " },
		"of a user":           func(s *registrytest.Server, path string) string { return "http://mallory:x@" + s.Host + path },
		"with an odd query":   func(_ *registrytest.Server, path string) string { return path + "&b=%2f+%20;&a&a=" },
		"with another digest": func(_ *registrytest.Server, path string) string { return path + "&last=sha256%3A00" },
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, janes(false))
			var query string
			s.On("POST upload", registrytest.Change(func(a *registrytest.Answer) {
				if a.Header.Get("Location") != "" {
					at := location(s, a.Header.Get("Location"))
					a.Header.Set("Location", at)
					_, query, _ = strings.Cut(strings.TrimSpace(strings.TrimSuffix(at, "#here")), "?")
				}
			}))
			c := knowing(t, Options{Credentials: creds{s.Host: jane}}, quick(), s)
			if _, err := sendBlob(context.Background(), c, in(s), layer); err != nil {
				t.Fatalf("%v: %q", err, s.Asked())
			}
			last := s.Requests()[len(s.Requests())-1]
			if want := query + "&digest=sha256%3A" + digest.FromString(layer).Encoded(); last.Method != "PUT" || last.Query != want || !last.Credential.Valid {
				t.Errorf("%s with %q of %v, want %q", last, last.Query, last.Credential, want)
			}
		})
	}
}
