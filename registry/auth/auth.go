// Package auth finds the credentials that people have, and turns a registry's
// challenge into an Authorization header.
//
// Challenges follow RFC 9110, section 11; tokens the token protocol of
// https://distribution.github.io/distribution/spec/auth/token/ and, for identity
// tokens, its OAuth2 form.
//
// A mount lives for weeks, and credentials don't: people log in and out, and
// helpers give what is good for some hours. So nothing that came of a credential is
// used when its file has changed, and a helper that gave a credential which was
// refused is asked again.
package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// Credential is what proves who asks. The zero value is nobody.
type Credential struct {
	Username, Password string
	IdentityToken      string // exchanged for access tokens at the token endpoint
	RegistryToken      string // sent as it is
	// Origin says whose the credential is and where it came from, for people. It
	// holds no secret.
	Origin string
	// Until is when its source is asked for it again; zero: when Source.Version
	// changes. Only what a helper gave has one.
	Until time.Time
}

// Empty says whether there is nothing to prove anything with.
func (c Credential) Empty() bool {
	return c.Username == "" && c.Password == "" && c.IdentityToken == "" && c.RegistryToken == ""
}

// Same says whether two credentials are one, whenever they were asked for.
func (c Credential) Same(other Credential) bool {
	c.Until, other.Until = time.Time{}, time.Time{}
	return c == other
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
	// empty, for the whole host; the zero value where there is none. The error is
	// that of ctx.
	Credential(ctx context.Context, r ref.Repository) (Credential, error)
	// Renew looks once more for a credential in place of one that a registry refused.
	// It gives the refused one where there is no other. A helper is asked again,
	// however short a time ago it answered, but not for each refusal.
	Renew(ctx context.Context, r ref.Repository, refused Credential) (Credential, error)
	// Version changes when a credential may have changed, except that a helper gives
	// another. It is asked for with each request, and so is cheap.
	Version() uint64
	// Searched says where a credential for r was looked for in vain, for people.
	Searched(r ref.Repository) []string
	// Hosts lists the registries that there are credentials for.
	Hosts() []string
}
