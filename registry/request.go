package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
)

// Request is a request of a registry's API that Client has no method for: an extension
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/extensions/README.md), a
// question that only few ask.
type Request struct {
	// Method is that of HTTP; "": GET. GET and HEAD are tried again, and others aren't.
	Method string
	// Path is below the base of the API, without a leading slash: "_oci/ext/discover", or
	// "org/app/tags/list"; "": the base itself. One that leads elsewhere is ErrNotFound.
	Path string
	// Query goes along as it is; nil: none does.
	Query url.Values
	// Header goes along; nil: none but the client's own.
	Header http.Header
	// Body goes along; nil: none does.
	Body []byte
	// Do is what the credential has to be for: auth.Pull, the zero value, auth.Push or
	// auth.Delete.
	Do auth.Action
	// Anonymous sends no credential, and answers no challenge.
	Anonymous bool
	// Server is the URL of the server that is asked, one of HostState.Servers; "": the
	// registry itself, or the one that is configured to be written to.
	Server string
	// Status lists the statuses that aren't errors; none: all from 200 to 299.
	Status []int
}

// Do sends a request for something of a repository, whose path may be empty: then it is for the
// whole host. The credential, the retries, the limits on waiting and what people configured count
// as for all others. A redirect is followed as for them, so that a credential goes along to its own
// origin alone.
//
// A status that isn't asked for is an *Error of the kind that it means. The answer comes with it,
// for its header and its connection: its body has been read. Else the caller closes the body.
func (c *Client) Do(ctx context.Context, r ref.Repository, q Request) (*http.Response, error) {
	k := call{
		method: q.Method, repo: r, path: q.Path, query: q.Query.Encode(), header: q.Header.Clone(),
		access: auth.Access{Do: q.Do}, anonymous: q.Anonymous, what: q.Path, name: r.String(),
	}
	if k.method == "" {
		k.method = http.MethodGet
	}
	if k.what == "" {
		k.what = "API"
	}
	if r.Path == "" {
		k.name = r.Host
		if _, err := ref.ParseHost(r.Host); err != nil {
			return nil, impossible(k.op(), k.name, err)
		}
	} else if err := checkRepository(k.op(), r); err != nil {
		return nil, err
	}
	if strings.HasPrefix(q.Path, "/") || slices.Contains(strings.Split(q.Path, "/"), "..") {
		return nil, impossible(k.op(), k.name, fmt.Errorf("the path %q isn't below the API", q.Path))
	}
	if q.Body != nil {
		k.sends = requestBody(q.Body)
	}
	if q.Server != "" {
		h, err := c.host(r.Host)
		if err != nil {
			return nil, k.failed(ctx, err, "")
		}
		for _, e := range h.servers() {
			if q.Server == e.Base.String() || q.Server == c.address(e) {
				k.at = e
			}
		}
		if k.at == nil { // the configuration has changed
			return nil, k.nonsense("%s has no server %s", r.Host, q.Server)
		}
	}
	ok := q.Status
	if len(ok) == 0 {
		ok = success
	}
	return c.ask(ctx, k, ok...)
}

// success are the statuses of success (RFC 9110, section 15.3).
var success = func() (all []int) {
	for s := 200; s < 300; s++ {
		all = append(all, s)
	}
	return all
}()

// requestBody is bytes in memory as the body of a request.
type requestBody []byte

func (b requestBody) size() int64                  { return int64(len(b)) }
func (b requestBody) open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
