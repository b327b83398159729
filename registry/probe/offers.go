package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
)

// maxDrained bounds what is read of an answer, so that its connection is free.
const maxDrained = 64 << 10

func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrained) // nothing hangs on it
	resp.Body.Close()
}

// OffersReferrers says whether a repository has the referrers API (spec, "Listing
// Referrers"), or none, so that the tag schema stands for it. It asks for the
// referrers of a digest that nothing has: reading changes nothing.
func OffersReferrers(ctx context.Context, c *registry.Client, r ref.Repository) (bool, error) {
	nothing := digest.NewDigestFromEncoded(digest.SHA256, strings.Repeat("0", digest.SHA256.Size()*2))
	rs, err := c.Referrers(ctx, r, nothing, "")
	return rs.API, err
}

// OffersRange says whether a part of a blob can be read (RFC 9110, section 14). It
// asks for the first byte of desc, which mustn't be empty: reading changes nothing.
func OffersRange(ctx context.Context, c *registry.Client, r ref.Repository, desc v1.Descriptor) (bool, error) {
	if _, err := ref.ParseDigest(desc.Digest.String()); err != nil {
		return false, err
	}
	resp, err := c.Do(ctx, r, registry.Request{
		Path: r.Path + "/blobs/" + desc.Digest.String(), Header: http.Header{"Range": {"bytes=0-0"}},
		Status: []int{http.StatusOK, http.StatusPartialContent},
	})
	if err != nil {
		return false, err
	}
	drain(resp)
	return resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), "bytes 0-"), nil
}

// OffersDelete says whether manifests can be deleted (spec, "Deleting Manifests"). It
// asks to delete the manifest of a random digest: no repository has it, as nobody
// can make bytes for a digest, so nothing is deleted.
func OffersDelete(ctx context.Context, c *registry.Client, r ref.Repository) (bool, error) {
	nothing := digest.FromString(rand.Text())
	resp, err := c.Do(ctx, r, registry.Request{Method: http.MethodDelete, Path: r.Path + "/manifests/" + nothing.String(), Do: auth.Delete})
	var e *registry.Error
	switch {
	case err == nil: // to some, what isn't there is deleted
		drain(resp)
		return true, nil
	case errors.Is(err, registry.ErrUnsupported):
		return false, nil
	case errors.As(err, &e) && e.Kind == registry.ErrNotFound && !slices.ContainsFunc(e.Codes, noSuchRepository):
		return true, nil
	}
	return false, err
}

func noSuchRepository(c registry.Code) bool { return c.Code == "NAME_UNKNOWN" }

// OffersMount says whether a blob can be taken over from another repository (spec,
// "Mounting a blob from another repository"). It asks to mount a blob that r has from
// r itself: where that is done, the repository has what it had. Where the registry
// begins an upload instead, it is cancelled with nothing sent; the client's Close waits for that.
func OffersMount(ctx context.Context, c *registry.Client, r ref.Repository, desc v1.Descriptor) (bool, error) {
	err := c.MountBlob(ctx, r, desc, r)
	if errors.Is(err, registry.ErrNotMounted) {
		return false, nil
	}
	return err == nil, err
}
