// Package auth finds the credentials that people have, and turns a registry's
// challenge into an Authorization header.
//
// Challenges follow RFC 9110, section 11; tokens the token protocol of
// https://distribution.github.io/distribution/spec/auth/token/ and, for identity
// tokens, its OAuth2 form.
package auth

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/ocifs/ocifs/registry/ref"
)

// Credential is what proves who asks. The zero value is nobody.
type Credential struct {
	Username, Password string
	IdentityToken      string // exchanged for access tokens at the token endpoint
	RegistryToken      string // sent as it is
	// Origin says where the credential came from, for people. It holds no secret.
	Origin string
}

// Empty says whether there is nothing to prove anything with.
func (c Credential) Empty() bool {
	return c.Username == "" && c.Password == "" && c.IdentityToken == "" && c.RegistryToken == ""
}

// Account names whom the credential is of, to tell one account from another: ""
// for nobody. Four hexadecimal digits of a hash of all of it tell two credentials
// of one name apart, which is too little to guess a secret by.
func (c Credential) Account() string {
	if c.Empty() {
		return ""
	}
	h := sha256.New()
	for _, s := range []string{c.Username, c.Password, c.IdentityToken, c.RegistryToken} {
		fmt.Fprintf(h, "%d %s", len(s), s)
	}
	return fmt.Sprintf("%s#%x", c.Username, h.Sum(nil)[:2])
}

// Source finds credentials. It is safe for concurrent use.
type Source interface {
	// Credential gives the best credential for a repository, or, where its path is
	// empty, for the whole host; the zero value where there is none.
	Credential(ctx context.Context, r ref.Repository) (Credential, error)
	// Hosts lists the registries that there are credentials for.
	Hosts() []string
}
