package registry

import (
	"context"
	"net/http"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/ref"
)

func blobCall(method string, r ref.Repository, d digest.Digest) call {
	return call{
		method: method, repo: r, path: r.Path + "/blobs/" + d.String(),
		header: http.Header{"Accept": {"*/*"}},
		what:   "blob", name: named(r, d.String()),
	}
}

// ResolveBlob tells whether a repository has a blob, and its size: one HEAD, and
// the head of a GET where the registry has no HEAD or leaves the size out.
func (c *Client) ResolveBlob(ctx context.Context, r ref.Repository, d digest.Digest) (Resolved, error) {
	if err := checkDigest(r, d); err != nil {
		return Resolved{}, err
	}
	k := blobCall(http.MethodHead, r, d)
	es, err := c.able(r.Host, hosts.Pull)
	if err != nil {
		return Resolved{}, k.failed(ctx, err, "")
	}
	return try(ctx, c, k, es, anything, func(ctx context.Context, k call) (Resolved, error) { return c.resolveBlob(ctx, k, d) })
}

func (c *Client) resolveBlob(ctx context.Context, k call, d digest.Digest) (Resolved, error) {
	resp, err := c.do(ctx, k, http.StatusOK, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest)
	if err != nil {
		return Resolved{}, err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 {
		k.method = http.MethodGet
		if resp, err = c.do(ctx, k, http.StatusOK); err != nil {
			return Resolved{}, err
		}
		resp.Body.Close()
		if resp.ContentLength < 0 {
			return Resolved{}, k.nonsense("the registry doesn't tell the blob's size")
		}
	}
	return Resolved{
		Descriptor: v1.Descriptor{MediaType: bareType(resp.Header.Get("Content-Type")), Digest: d, Size: resp.ContentLength},
	}, nil
}
