package transport

import (
	"errors"
	"net/url"
	"strings"
	"testing"
)

// A default port is the same as none, and only that; hosts are the same in any case.
//
// Behaviour: address.origin
func TestOriginsAreTheSame(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"https://h/a", "https://h:443/b?c", true},
		{"http://h", "http://h:80/", true},
		{"https://[::1]", "https://[::1]:443", true},
		{"https://H.example", "https://h.EXAMPLE:443", true},
		{"https://h", "http://h", false},
		{"https://h:443", "http://h:443", false},
		{"https://h", "https://h:80", false},
		{"http://h", "http://h:443", false},
		{"https://h", "https://h:8443", false},
		{"https://h.example", "https://a.h.example", false},
		{"https://h.example", "https://h.example.", false},
		{"https://h.example", "https://h.example.other.example", false},
		{"https://127.0.0.1", "https://localhost", false},
	} {
		a, _ := url.Parse(c.a)
		b, _ := url.Parse(c.b)
		if SameOrigin(a, b) != c.same || SameOrigin(b, a) != c.same {
			t.Errorf("%s and %s are the same: %v", c.a, c.b, !c.same)
		}
	}
}

// What isn't encrypted is never gone on with where it was; a server that calls itself
// by http, with its own port or that of http, is asked as before.
//
// Behaviour: address.encrypted
func TestAnAddressStaysEncrypted(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"https://h:5000/v2/", "http://h:5000/x", "https://h:5000/x"},
		{"https://h:5000/v2/", "http://h/x", "https://h:5000/x"},
		{"https://h/v2/", "http://h:80/x", "https://h/x"},
		{"https://h/v2/", "http://H/x", "https://h/x"},
		{"https://h/v2/", "http://h:443/x", ""},
		{"https://h:5000/v2/", "http://h:5001/x", ""},
		{"https://h/v2/", "http://a.h/x", ""},
		{"https://h/v2/", "//other/x", "https://other/x"},
		{"http://h/v2/", "https://h/x", "https://h/x"},
		{"https://h/v2/", "/x?a=b c&d=%20", "https://h/x?a=b%20c&d=%20"},
	} {
		from, _ := url.Parse(c.from)
		got, err := Resolve(from, c.to)
		if c.want == "" {
			if !errors.Is(err, ErrAddress) {
				t.Errorf("from %s to %s: got %v, %v", c.from, c.to, got, err)
			}
		} else if err != nil || got.String() != c.want {
			t.Errorf("from %s to %s: got %v, %v, want %s", c.from, c.to, got, err, c.want)
		}
	}
}

// What is wrong with an address is told without what is secret in it.
//
// Behaviour: address.secrets
func TestABadAddressIsToldWithoutItsSecrets(t *testing.T) {
	from, _ := url.Parse("https://h/v2/")
	for _, to := range []string{
		"ftp://jane:s3cret@h/x", "ftp://h/x?sig=s3cret", "http://jane:s3cret@other/x?sig=s3cret", "https://jane:s3cret@h:port/x", "https:jane:s3cret@h/x",
		"%zz?s3cret", "https://h/%zz?s3cret", "http://other/?s3cret#s3cret", "https://jane:s3c%zz@h/", "//::/x?_state=s3cret",
	} {
		if u, err := Resolve(from, to); err == nil || strings.Contains(err.Error(), "s3c") {
			t.Errorf("%s: %v, %v", to, u, err)
		}
	}
}

// What a server sends decides where this client goes: never from https to http, never
// with a name and a password in the address, and to the same place however often it is
// looked at.
//
// Behaviour: address.encrypted
func FuzzResolve(f *testing.F) {
	for _, from := range []string{
		"https://registry-1.docker.io/v2/library/alpine/blobs/sha256:00", "https://ghcr.io:443/v2/", "http://localhost:5000/v2/a/b/blobs/uploads/", "https://[::1]:5000/v2/",
	} {
		for _, to := range []string{
			"/v2/a/b/blobs/uploads/6f0c?_state=x%2Fy", "?last=b&n=2", "", " ", "#top", "//cdn.example/x", "http://ghcr.io/v2/x", "http://ghcr.io:80/v2/x", "https://u:p@cdn.example/x?sig=a#b",
			"https://production.cloudflare.docker.com/registry-v2/docker/registry/v2/blobs/sha256/00/data?verify=1-x%3D", "ftp://ghcr.io/x", "https:///x", "https:x", "%zz", "HTTP://GHCR.IO/x", "https://gh cr.io/", "http://[::1]:5000/x",
		} {
			f.Add(from, to)
		}
	}
	f.Fuzz(func(t *testing.T, a, to string) {
		from, err := url.Parse(a)
		if err != nil || from.Host == "" || from.Scheme != "http" && from.Scheme != "https" {
			return
		}
		before := from.String()
		u, err := Resolve(from, to)
		if from.String() != before {
			t.Errorf("%s became %s", before, from)
		}
		if err != nil {
			if !errors.Is(err, ErrAddress) || u != nil {
				t.Errorf("%v with %v", err, u)
			}
			return
		}
		if u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || from.Scheme == "https" && u.Scheme != "https" {
			t.Errorf("%s leads from %s to %s", to, from, u)
		}
		if u.User != nil || u.Fragment != "" {
			t.Errorf("%s keeps what isn't sent", u)
		}
		again, err := Resolve(u, u.String())
		if err != nil || again.String() != u.String() || !SameOrigin(again, u) {
			t.Errorf("%s leads on to %v, %v", u, again, err)
		}
	})
}
