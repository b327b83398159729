package registry

import (
	"context"
	"errors"
	"net/http"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// DeleteTag deletes a tag, and never the manifest that it points at (spec,
// "Deleting tags"): ErrUnsupported where the registry doesn't offer that.
func (c *Client) DeleteTag(ctx context.Context, r ref.Repository, tag string) error {
	if err := checkTag("DELETE manifest", r, tag); err != nil {
		return err
	}
	err := c.delete(ctx, manifestCall(http.MethodDelete, r, tag))
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusBadRequest && e.Kind != ErrInUse {
		e.Kind = ErrUnsupported // it wants a digest there
	}
	return err
}

// DeleteManifest deletes a manifest by its digest, whatever tags point at it (spec,
// "Deleting Manifests"). If the manifest has a subject and the registry has no referrers API,
// the manifest is taken off the list that the tag schema keeps; an error of that says so, and
// the manifest is deleted all the same. The manifest is got first, to see its subject. A caller
// that has it already hands it in as known, and saves that request.
// ErrInUse: the registry wants a tag or an index that points at it deleted first.
func (c *Client) DeleteManifest(ctx context.Context, r ref.Repository, d digest.Digest, known ...*Manifest) error {
	if err := checkDigest("DELETE manifest", r, d); err != nil {
		return err
	}
	m, err := c.manifestToDelete(ctx, r, d, known)
	if err != nil && (ctx.Err() != nil || OutOfReach(err)) {
		return err
	}
	// A manifest that can't be read may be deleted still: nobody could list it as a referrer.
	err = c.delete(ctx, manifestCall(http.MethodDelete, r, d.String()))
	if err != nil || m == nil || m.Subject == nil {
		return err
	}
	if !hasDigest(*m.Subject) {
		return nil // of an algorithm that isn't known, so that it was never listed here
	}
	if c.learnt.hasReferrers(r) {
		if _, err := c.referrersAPI(ctx, r, m.Subject.Digest, ""); !errors.Is(err, errNoAPI) {
			return nil // its own list is its own business
		}
	}
	return c.dropReferrer(ctx, r, m)
}

// manifestToDelete gives the manifest with a digest: one of known, or by a GET.
func (c *Client) manifestToDelete(ctx context.Context, r ref.Repository, d digest.Digest, known []*Manifest) (*Manifest, error) {
	for _, m := range known {
		if m.Digest == d {
			return m, nil
		}
	}
	k := manifestCall(http.MethodGet, r, d.String())
	k.access.Do = auth.Delete // one token for all that follows
	return c.manifest(ctx, k, d)
}

// DeleteBlob deletes a blob (spec, "Deleting Blobs"). Whether a manifest still needs
// it is the registry's to know: ErrInUse.
func (c *Client) DeleteBlob(ctx context.Context, r ref.Repository, d digest.Digest) error {
	if err := checkDigest("DELETE blob", r, d); err != nil {
		return err
	}
	return c.delete(ctx, blobCall(http.MethodDelete, r, d))
}

// delete sends a DELETE. What isn't there any more after an attempt whose answer was
// lost is deleted.
func (c *Client) delete(ctx context.Context, k call) error {
	k.access.Do = auth.Delete
	k.header = nil
	repeats := 0
	k.plan.Repeats = &repeats
	resp, err := c.do(ctx, k, http.StatusAccepted, http.StatusNoContent, http.StatusOK)
	var e *Error
	switch {
	case err == nil:
		transport.Aside(resp)
	case errors.As(err, &e) && e.Status == http.StatusNotFound && e.Kind == ErrNotFound && repeats > 0:
		return nil
	}
	return err
}
