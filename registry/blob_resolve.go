package registry

import (
	"context"
	"errors"
	"hash"
	"io"
	"net/http"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

func blobCall(method string, r ref.Repository, d digest.Digest) call {
	return call{
		method: method, repo: r, path: r.Path + "/blobs/" + d.String(),
		header: http.Header{"Accept": {"*/*"}},
		what:   "blob", name: named(r, d.String()),
	}
}

// HasBlob says whether a repository has a blob (spec, "Checking if content exists in the
// registry"): one HEAD, and the head of a GET where the registry has no HEAD, or leads it to an
// address that is good for GET alone. A registry that can't be asked, or that refuses, is an error.
func (c *Client) HasBlob(ctx context.Context, r ref.Repository, d digest.Digest) (bool, error) {
	if err := checkDigest("HEAD blob", r, d); err != nil {
		return false, err
	}
	k := blobCall(http.MethodHead, r, d)
	es, err := c.able(r.Host, hosts.Pull)
	if err != nil {
		return false, k.failed(ctx, err, "")
	}
	_, err = try(ctx, c, k, es, anything, func(ctx context.Context, k call) (struct{}, error) {
		resp, err := c.head(ctx, k, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest)
		if err == nil && resp.StatusCode != http.StatusOK {
			resp.Body.Close()
			k.method = http.MethodGet
			resp, err = c.do(ctx, k, http.StatusOK)
		}
		if err == nil {
			resp.Body.Close()
		}
		return struct{}{}, err
	})
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// ResolveBlob tells whether a repository has a blob, and its size: one HEAD, and the head of a
// GET where the registry has no HEAD, leaves the size out, or leads HEAD to an address that is
// good for GET alone. Where the answer is compressed, its length is no size: the blob is read
// then, and counted.
func (c *Client) ResolveBlob(ctx context.Context, r ref.Repository, d digest.Digest) (Resolved, error) {
	if err := checkDigest("HEAD blob", r, d); err != nil {
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
	resp, err := c.head(ctx, k, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest)
	if err != nil {
		return Resolved{}, err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 {
		k.method, k.plan.Bulk = http.MethodGet, true
		if resp, err = c.do(ctx, k, http.StatusOK); err != nil {
			return Resolved{}, err
		}
		defer resp.Body.Close()
		if transport.Coding(resp.Header) != "" {
			if resp.ContentLength, _, err = c.count(ctx, k, resp, d); err != nil {
				return Resolved{}, err
			}
		}
		if resp.ContentLength < 0 {
			return Resolved{}, k.nonsense("the registry doesn't tell the blob's size")
		}
	}
	return Resolved{
		Descriptor: v1.Descriptor{MediaType: bareType(resp.Header.Get("Content-Type")), Digest: d, Size: resp.ContentLength},
	}, nil
}

// head sends a HEAD. Storage says 403 to it where the registry led to an address that it signed
// for GET (S3: SignatureDoesNotMatch): then the head of a GET is asked for. A refusal of the
// registry itself is final.
func (c *Client) head(ctx context.Context, k call, ok ...int) (*http.Response, error) {
	ok = append(ok, http.StatusOK)
	resp, err := c.do(ctx, k, ok...)
	var e *Error
	if errors.As(err, &e) && e.elsewhere {
		k.method = http.MethodGet
		return c.do(ctx, k, ok...)
	}
	return resp, err
}

// count reads a blob that says to be compressed, and gives its size. asSent is true if the bytes
// that were sent have the digest, and false if the decoded ones have it. Of an error the size is -1.
// Decoding ends where the decoded bytes are beyond a bound. The bytes that were sent are counted all
// the same: a layer is compressed itself, and may only be labelled so.
func (c *Client) count(ctx context.Context, k call, resp *http.Response, d digest.Digest) (size int64, asSent bool, err error) {
	sent, decoded := &counter{hash: d.Algorithm().Hash()}, &counter{hash: d.Algorithm().Hash()}
	body := io.TeeReader(&unsizedReader{next: resp.Body, most: c.bounds.unsized}, sent)
	coded := &http.Response{Header: resp.Header.Clone(), Body: io.NopCloser(body)}
	transport.Decode(coded)
	_, err = io.Copy(decoded, &unsizedReader{next: coded.Body, most: c.bounds.unsized, sent: sent, free: c.bounds.unpacked})
	if _, broken := io.Copy(io.Discard, body); broken != nil {
		return -1, false, k.body(ctx, broken)
	}
	switch {
	case sent.has(d):
		return sent.n, true, nil
	case err != nil:
		return -1, false, k.body(ctx, err)
	case decoded.has(d):
		return decoded.n, false, nil
	}
	return -1, false, &Error{Op: k.op(), Name: k.name, At: k.server(), Kind: ErrCorrupt, Err: errors.New("neither the bytes that were sent nor the decoded ones have the digest")}
}

// counter counts and hashes what is written to it.
type counter struct {
	hash hash.Hash
	n    int64 // bytes
}

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.hash.Write(b)
}

func (c *counter) has(d digest.Digest) bool { return digest.NewDigest(d.Algorithm(), c.hash) == d }
