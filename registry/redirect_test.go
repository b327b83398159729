package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// A presigned address that is over in the middle of a blob leads back to the registry,
// which gives another: by the credential, which where it leads to never sees.
//
// Behaviour: address.presigned, address.origin
func TestAPresignedAddressThatIsOverLeadsBack(t *testing.T) {
	for name, over := range map[string]registrytest.Quirk{
		"403": nil, // its own
		"401": registrytest.Challenge(`Basic realm="storage"`),
		"451": registrytest.Status(http.StatusUnavailableForLegalReasons, ""),
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, janes(true))
			cdn := s.Elsewhere(t, janes(true))
			s.Image("a/b", "v1", []byte(layer))
			c := knowing(t, Options{Credentials: creds{s.Host: jane, cdn.Host: jane}}, quick(), s, cdn)
			if _, err := c.Manifest(context.Background(), in(s), "v1"); err != nil { // so that there is a token
				t.Fatal(err)
			}
			s.Forget()
			s.On("GET blob", registrytest.Presign(cdn, 1))
			s.Nth(2, "GET blob", registrytest.Presign(cdn, 0))
			cdn.First(1, "GET blob", registrytest.Cut(4))
			if over != nil {
				cdn.Nth(2, "GET blob", over)
			}
			cdn.Nth(3, "GET blob", registrytest.Cut(5))
			if got, err := readBlob(c, in(s), layer); err != nil || got != layer {
				t.Errorf("%q, %v", got, err)
			}
			s.Want("GET blob", "elsewhere GET blob",
				"GET blob bytes=4-", "elsewhere GET blob bytes=4-",
				"GET blob bytes=4-", "elsewhere GET blob bytes=4-",
				"GET blob bytes=9-", "elsewhere GET blob bytes=9-")
			for _, q := range s.Requests() {
				if (q.Credential.User == "jane") != (q.Server == "") {
					t.Errorf("%s with the credential of %q", q, q.Credential.User)
				}
			}
		})
	}
}

// Storage that says of an address that is over that the request is bad (400) is asked
// for all of it, at an address that the registry gave anew.
//
// Behaviour: address.presigned
func TestAPresignedAddressThatIsBadLeadsBack(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	cdn := s.Elsewhere(t, registrytest.Options{})
	s.Image("a/b", "v1", []byte(layer))
	s.On("GET blob", registrytest.Presign(cdn, 1))
	cdn.First(1, "GET blob", registrytest.Cut(4))
	cdn.Nth(2, "GET blob", registrytest.Status(400, "<Error><Code>ExpiredToken</Code></Error>"))
	if got, err := readBlob(knowing(t, Options{}, quick(), s, cdn), in(s), layer); err != nil || got != layer {
		t.Errorf("%q, %v", got, err)
	}
	s.Want("GET blob", "elsewhere GET blob", "GET blob bytes=4-", "elsewhere GET blob bytes=4-", "GET blob", "elsewhere GET blob")
}

// Storage that never lets anyone in ends in an error soon, which says who said so: it
// isn't the registry, whose credential is all right.
//
// Behaviour: address.presigned
func TestStorageThatRefusesIsNamed(t *testing.T) {
	for _, begun := range []bool{false, true} {
		t.Run(fmt.Sprint("begun ", begun), func(t *testing.T) {
			s := registrytest.Start(t, janes(false))
			cdn := s.Elsewhere(t, registrytest.Options{})
			s.Image("a/b", "v1", []byte(layer))
			s.On("GET blob", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
				if x.Header.Get("Authorization") == "" {
					return next()
				}
				return registrytest.Presign(cdn, 0)(x, next)
			})
			if begun {
				cdn.First(1, "GET blob", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
					x.URL.RawQuery = "" // it lets this one in
					return registrytest.Cut(4)(x, next)
				})
			}
			c := knowing(t, Options{Credentials: creds{s.Host: jane}}, quick(), s, cdn)
			_, err := readBlob(c, in(s), layer)
			if !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "said by "+cdn.Host) || strings.Contains(err.Error(), "jane") {
				t.Errorf("%v, want one that names %s", err, cdn.Host)
			}
			if n := cdn.Count("GET blob"); n > 2*(maxBreaks+2)+1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// Storage that is out of reach is named too, and the registry isn't taken for down.
//
// Behaviour: address.presigned, fail.down
func TestStorageThatIsDownIsNotTheRegistry(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	cdn := s.Elsewhere(t, registrytest.Options{})
	s.Image("a/b", "v1", []byte(layer))
	s.On("GET blob", registrytest.Presign(cdn, -1))
	c := knowing(t, Options{}, quick(), s, cdn)
	cdn.Gone()
	if _, err := readBlob(c, in(s), layer); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), cdn.Host+", where the registry led") {
		t.Error(err)
	}
	if _, err := c.Manifest(context.Background(), in(s), "v1"); err != nil {
		t.Error(err)
	}
	for _, h := range c.State() {
		if h.Host == s.Host && h.Servers[0].Down != "" {
			t.Errorf("%+v", h)
		}
	}
}

// The Links of pages stay on the origin of the first: nobody else is asked for the
// next, with a credential or without one.
//
// Behaviour: address.pages, address.encrypted
func TestPagesStayOnTheirOrigin(t *testing.T) {
	for name, c := range map[string]struct {
		tls  bool
		link func(s, other *registrytest.Server) string
		want error
	}{
		"a query":              {false, func(_, _ *registrytest.Server) string { return "?last=a" }, nil},
		"a path":               {false, func(_, _ *registrytest.Server) string { return "/v2/a/b/tags/list?last=a" }, nil},
		"all of it":            {false, func(s, _ *registrytest.Server) string { return s.URL + "/v2/a/b/tags/list?last=a" }, nil},
		"with a user":          {false, func(s, _ *registrytest.Server) string { return "http://x:y@" + s.Host + "/v2/a/b/tags/list?last=a" }, nil},
		"itself by http":       {true, func(s, _ *registrytest.Server) string { return "http://" + s.Host + "/v2/a/b/tags/list?last=a" }, nil},
		"itself, without port": {true, func(_, _ *registrytest.Server) string { return "http://127.0.0.1/v2/a/b/tags/list?last=a" }, nil},
		"another port":         {false, func(_, o *registrytest.Server) string { return o.URL + "/v2/a/b/tags/list?last=a" }, ErrServer},
		"another, no scheme":   {false, func(_, o *registrytest.Server) string { return "//" + o.Host + "/v2/a/b/tags/list?last=a" }, ErrServer},
		"another name": {false, func(s, _ *registrytest.Server) string {
			return "http://localhost" + s.Host[strings.LastIndex(s.Host, ":"):] + "/v2/a/b/tags/list"
		}, ErrServer},
		"another scheme":         {false, func(s, _ *registrytest.Server) string { return "https://" + s.Host + "/v2/a/b/tags/list?last=a" }, ErrServer},
		"another's, by http":     {true, func(_, o *registrytest.Server) string { return "http://" + o.Host + "/v2/a/b/tags/list?last=a" }, ErrServer},
		"no address":             {false, func(_, _ *registrytest.Server) string { return "http://%zz/" }, ErrServer},
		"no address of a server": {false, func(_, _ *registrytest.Server) string { return "file:///etc/passwd" }, ErrServer},
		"itself":                 {false, func(_, _ *registrytest.Server) string { return "" }, ErrServer},
		"itself, with a target":  {false, func(_, _ *registrytest.Server) string { return "#top" }, ErrServer},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{TLS: c.tls, Login: janes(false).Login})
			other := s.Elsewhere(t, registrytest.Options{TLS: c.tls})
			s.Image("a/b", "a", []byte(layer))
			s.On("GET tags", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
				a := next()
				if x.URL.RawQuery == "" {
					a.Header.Set("Link", "<"+c.link(s, other)+`>; rel="next"`)
				}
				return a
			})
			cl := knowing(t, Options{Credentials: creds{s.Host: jane, other.Host: jane}}, quick(), s, other)
			var last error
			for _, err := range cl.TagPages(context.Background(), in(s)) {
				last = err
			}
			if !errors.Is(last, c.want) {
				t.Errorf("got %v, want %v", last, c.want)
			}
			// The challenge comes first.
			if n := s.Count("GET tags"); n != map[bool]int{true: 3, false: 2}[c.want == nil] || slices.ContainsFunc(s.Requests(), func(q registrytest.Request) bool { return q.Server != "" }) {
				t.Errorf("asked %q", s.Asked())
			}
		})
	}
}

// A first page that is somewhere else has its next there: that is another origin, and
// nobody goes there for it.
//
// Behaviour: address.pages
func TestPagesDoNotGoOnWhereTheyWereLed(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	other := s.Elsewhere(t, registrytest.Options{Traits: registrytest.Traits{Page: 1}})
	for _, tag := range []string{"a", "b"} {
		s.Image("a/b", tag, []byte(layer))
	}
	s.On("GET tags", registrytest.Redirect(other.URL))
	c := knowing(t, Options{}, quick(), s, other)
	var last error
	for _, err := range c.TagPages(context.Background(), in(s)) {
		last = err
	}
	if !errors.Is(last, ErrServer) {
		t.Error(last)
	}
	s.Want("GET tags", "elsewhere GET tags")
}

// Pages that go in a circle, or on without anything new, are an error soon.
//
// Behaviour: address.pages
func TestPagesComeToAnEnd(t *testing.T) {
	for name, c := range map[string]struct {
		quirks []registrytest.Quirk
		most   int
	}{
		"a circle": {[]registrytest.Quirk{func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
			to := map[string]string{"": "?p=2", "p=2": "?p=3", "p=3": "?p=2"}[x.URL.RawQuery]
			x.URL.RawQuery = ""
			return registrytest.With("Link", "<"+to+`>; rel="next"`)(x, next)
		}}, 3},
		"no news": {[]registrytest.Quirk{registrytest.EndlessPages()}, 2 * maxNoNews},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.Image("a/b", "v1", []byte(layer))
			s.On("GET tags", c.quirks...)
			cl := knowing(t, Options{}, quick(), s)
			var last error
			for _, err := range cl.TagPages(context.Background(), in(s)) {
				last = err
			}
			if n := s.Count("GET tags"); !errors.Is(last, ErrServer) || n > c.most {
				t.Errorf("after %d pages: %v", n, last)
			}
		})
	}
}
