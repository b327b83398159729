package registry

import (
	"errors"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A token endpoint that is down says nothing about the registry: what needs no token goes on at
// once, and the error names the endpoint.
//
// Behaviour: auth.down
func TestATokenEndpointThatIsDownIsNotTheRegistry(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	c := knowing(t, Options{Credentials: creds{"": jane}}, quick(), s)
	s.Image("pub/a", "v1", []byte("x"))
	s.Image("priv/b", "v1", []byte("y"))
	s.On("* manifest", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
		if x.Repository == "priv/b" {
			return registrytest.Plain(401, "", "WWW-Authenticate", `Bearer realm="http://127.0.0.1:1/token",service="s"`)
		}
		return next()
	})
	_, err := c.Manifest(t.Context(), ref.Repository{Host: s.Host, Path: "priv/b"}, "v1")
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "token endpoint http://127.0.0.1:1/token") {
		t.Errorf("got %v, want that the token endpoint is out of reach", err)
	}
	if err := c.learnt.health(s.Host).down(); err != nil {
		t.Errorf("the registry is called out of reach: %v", err)
	}
	if _, err := c.Manifest(t.Context(), ref.Repository{Host: s.Host, Path: "pub/a"}, "v1"); err != nil {
		t.Errorf("the public repository right after: %v", err)
	}
}
