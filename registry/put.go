package registry

import (
	"context"

	"github.com/ocifs/ocifs/registry/ref"
)

// PushManifest puts a manifest into a repository, under tags, or by its digest
// where there are none (spec, "Pushing Manifests").
func (c *Client) PushManifest(ctx context.Context, r ref.Repository, m *Manifest, tags ...string) error {
	return ErrUnsupported
}
