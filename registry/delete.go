package registry

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// DeleteTag deletes a tag, and never the manifest that it points at (spec,
// "Deleting tags").
func (c *Client) DeleteTag(ctx context.Context, r ref.Repository, tag string) error {
	return ErrUnsupported
}

// DeleteManifest deletes a manifest by its digest (spec, "Deleting Manifests").
func (c *Client) DeleteManifest(ctx context.Context, r ref.Repository, m *Manifest) error {
	return ErrUnsupported
}

// DeleteBlob deletes a blob (spec, "Deleting Blobs").
func (c *Client) DeleteBlob(ctx context.Context, r ref.Repository, d digest.Digest) error {
	return ErrUnsupported
}
