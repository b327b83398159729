package registry

import (
	"errors"
	"testing"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// The state of a server has the scheme by which it is asked, which a loopback host says itself. A request
// to that server may name it by the URL that it had before.
func TestStateTellsTheSchemeThatIsSpoken(t *testing.T) {
	tls, plain := registrytest.Start(t, registrytest.Options{TLS: true}), registrytest.Start(t, registrytest.Options{})
	for _, x := range []struct {
		name          string
		c             *Client
		s             *registrytest.Server
		before, after string // the scheme before and after a request
	}{
		{"TLS", knowing(t, Options{}, quick(), tls), tls, "https", "https"},
		{"named as plain", knowing(t, Options{}, quick(), plain), plain, "http", "http"},
		{"found to be plain", newClient(Options{}, quick()), plain, "https", "http"},
	} {
		defer x.c.Close()
		url := func() string {
			h, err := x.c.HostState(x.s.Host)
			if err != nil {
				t.Fatal(err)
			}
			return h.Servers[0].URL
		}
		first := url()
		if want := x.before + "://" + x.s.Host + "/v2"; first != want {
			t.Errorf("%s: before a request it is %s, want %s", x.name, first, want)
		}
		if _, err := x.c.Manifest(t.Context(), in(x.s), "v1"); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
		if want := x.after + "://" + x.s.Host + "/v2"; url() != want {
			t.Errorf("%s: after a request it is %s, want %s", x.name, url(), want)
		}
		for _, server := range []string{first, url()} {
			resp, err := x.c.Do(t.Context(), in(x.s), Request{Server: server})
			if err != nil {
				t.Errorf("%s: a request to %s: %v", x.name, server, err)
				continue
			}
			resp.Body.Close()
		}
	}
}
