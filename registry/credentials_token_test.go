package registry

import (
	"context"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// What is so of a request isn't so of the one that gets its token: it goes by the connections for
// metadata, although a blob needs it, and is tried again although its registry was down a moment
// ago.
func TestATokenIsFetchedByAPlanOfItsOwn(t *testing.T) {
	tokens := registrytest.Start(t, janes(true))
	o := janes(true)
	o.Login.Realm = tokens.URL + "/token"
	s := tokens.Elsewhere(t, o)
	d := s.Blob("a/b", []byte(layer))
	c := knowing(t, Options{Credentials: creds{"": jane}}, quick(), s, tokens)
	var refused atomic.Int32
	var bulk []string
	meta := c.transports.usual.meta.DialContext
	c.transports.usual.meta.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == tokens.Host && refused.Add(1) == 1 {
			return nil, syscall.ECONNREFUSED
		}
		return meta(ctx, network, address)
	}
	c.transports.usual.bulk.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		bulk = append(bulk, address)
		return meta(ctx, network, address)
	}
	h := c.learnt.health(s.Host)
	h.failed(io.ErrUnexpectedEOF, 0)
	h.until = time.Now()
	b, err := c.Blob(t.Context(), in(s), v1.Descriptor{Digest: d, Size: int64(len(layer))})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	if !slices.Equal(bulk, []string{s.Host}) {
		t.Errorf("connections for blobs go to %q, want the registry %s alone", bulk, s.Host)
	}
	if n := refused.Load(); n != 2 {
		t.Errorf("the token endpoint was tried %d times, want once more after a refused connection", n)
	}
}
