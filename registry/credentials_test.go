package registry

import (
	"context"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
)

// creds are credentials by host, or for every other host by "".
type creds map[string]auth.Credential

func (c creds) Credential(_ context.Context, r ref.Repository) (auth.Credential, error) {
	if cred, ok := c[r.Host]; ok {
		return cred, nil
	}
	return c[""], nil
}

func (c creds) Renew(ctx context.Context, r ref.Repository, _ auth.Credential) (auth.Credential, error) {
	return c.Credential(ctx, r)
}

func (c creds) Version() uint64 { return 0 }

func (c creds) Hosts() []string { return nil }

func (c creds) Searched(ref.Repository) []string { return nil }
