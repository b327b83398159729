package auth

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Credential is what proves who asks. The zero value is nobody.
type Credential struct {
	Username, Password string
	IdentityToken      string // exchanged for access tokens at the token endpoint (OAuth2)
	RegistryToken      string // sent as a Bearer token as it is
	// Origin names the user and the place that the credential comes from, for people. It
	// holds no secret.
	Origin string
	// Hint is what a person does to replace the credential: "docker login ghcr.io". "" says
	// that nothing is known to help.
	Hint string
	// Expires is when the source is asked for the credential again. Zero: when its version
	// changes ([VersionSource]). Only what a helper gave has a time.
	Expires time.Time
}

// Empty says whether there is nothing to prove anything with.
func (c Credential) Empty() bool { return c.proof() == [4]string{} }

// proof is the part of a credential that a registry sees.
func (c Credential) proof() [4]string {
	return [4]string{c.Username, c.Password, c.IdentityToken, c.RegistryToken}
}

// same says whether a registry can't tell two credentials apart, wherever they are from.
func (c Credential) same(other Credential) bool { return c.proof() == other.proof() }

// in says whether one of a list is the same.
func (c Credential) in(list []Credential) bool { return slices.ContainsFunc(list, c.same) }

// Account names the user of the credential, to tell one account from another: ""
// for nobody. Four hexadecimal digits of a hash of all of it tell two credentials
// of one name apart, which is too little to guess a secret by.
func (c Credential) Account() string {
	if c.Empty() {
		return ""
	}
	h := sha256.New()
	for _, s := range c.proof() {
		fmt.Fprintf(h, "%d %s", len(s), s)
	}
	return fmt.Sprintf("%s#%x", c.Username, h.Sum(nil)[:2])
}

// maxUser bounds what is shown of a user's name.
const maxUser = 64

// owner names the user of a credential for the beginning of its Origin: "jane from ". It
// is "" if the credential has no name of a user.
func owner(c Credential) string {
	user := strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return -1
	}, c.Username)
	if user == "" || user == tokenUser {
		return ""
	}
	if len(user) > maxUser {
		user = strings.ToValidUTF8(user[:maxUser], "") + "…"
	}
	return user + " from "
}

// Use tells a person which credentials a request was sent with.
type Use struct {
	// Origin names the credential that was used, and before it those that were refused. ""
	// says that there was none.
	Origin string
	// Hint is what replaces these credentials.
	Hint string
	// Rests says until when the credential isn't shown again, as the answer is the refusal of a
	// moment ago; nil: the registry was asked.
	Rests *RestsError
}

// useOf tells of the credentials that a request showed.
func useOf(shown []Credential) (u Use) {
	var origins, hints []string
	for _, c := range shown {
		if c.Origin != "" && !slices.Contains(origins, c.Origin) {
			origins = append(origins, c.Origin)
		}
		if c.Hint != "" && !slices.Contains(hints, c.Hint) {
			hints = append(hints, c.Hint)
		}
	}
	return Use{Origin: strings.Join(origins, "; "), Hint: strings.Join(hints, "; ")}
}
