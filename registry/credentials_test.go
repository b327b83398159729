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
