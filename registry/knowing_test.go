package registry

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// quick are the bounds of a client that isn't kept waiting.
func quick() bounds {
	return bounds{idle: 20 * time.Second, answer: 20 * time.Second, pauses: []time.Duration{1, 1, 1}, chunk: 4}
}

// knowing makes a client that knows of servers what people configure: which ones are
// plain, and the authorities of the others.
func knowing(t *testing.T, o Options, b bounds, servers ...*registrytest.Server) *Client {
	t.Helper()
	dir := t.TempDir()
	for _, s := range servers {
		if s.CA == nil {
			o.PlainHTTP = append(o.PlainHTTP, s.Host)
			continue
		}
		if err := os.Mkdir(filepath.Join(dir, s.Host), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, s.Host, "ca.crt"), s.CA, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.Config = hosts.New(hosts.Options{Certs: []string{dir}})
	if o.RetryMaxWait == 0 {
		o.RetryMaxWait = 2 * time.Second
	}
	c := newClient(o, b)
	t.Cleanup(c.Close)
	return c
}

// lead has the connections of a client to host:port go to a server, whatever the name
// is: so it has names and ports that no test can have.
func lead(c *Client, to map[string]*registrytest.Server) {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if s := to[address]; s != nil {
			address = s.Host
		}
		if !ref.IsLoopback(address) {
			return nil, fmt.Errorf("nobody is at %s", address)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	c.transports.usual.meta.DialContext, c.transports.usual.bulk.DialContext = dial, dial
}

// janes is a registry that only jane may use.
func janes(tokens bool) registrytest.Options {
	return registrytest.Options{Login: &registrytest.Login{Users: map[string]string{"jane": "s3cret"}, Tokens: tokens}}
}

var jane = auth.Credential{Username: "jane", Password: "s3cret"}

// in gives the repository of these tests at a server.
func in(s *registrytest.Server) ref.Repository { return ref.Repository{Host: s.Host, Path: "a/b"} }

// inMemory is a Source.
type inMemory struct{ *strings.Reader }

func (inMemory) Close() error { return nil }

func sendBlob(ctx context.Context, c *Client, r ref.Repository, content string) (Pushed, error) {
	desc := v1.Descriptor{Digest: digest.FromString(content), Size: int64(len(content))}
	return c.PushBlob(ctx, r, desc, func(context.Context) (Source, error) { return inMemory{strings.NewReader(content)}, nil }, Push{Absent: true})
}
