package auth

import (
	"context"

	"github.com/ocifs/ocifs/registry/ref"
)

// Source finds credentials. It is safe for concurrent use.
//
// A source that knows more says so by one more method: [NextSource], [VersionSource],
// [HostSource], [SearchSource].
type Source interface {
	// Credential gives the best credential for a repository, or, where its path is
	// empty, for the whole host; the zero value where there is none. The error is
	// that of ctx.
	Credential(ctx context.Context, r ref.Repository) (Credential, error)
}

// NextSource is a Source that may have more than one credential for a repository, or a
// fresh one.
type NextSource interface {
	Source
	// Next gives the best credential for a repository that is none of those that were
	// refused; the zero value where there is none. A helper whose credential was refused
	// is asked again, but not for each refusal. The error is that of ctx.
	Next(ctx context.Context, r ref.Repository, refused []Credential) (Credential, error)
}

// VersionSource is a Source whose credentials may change.
type VersionSource interface {
	Source
	// Version changes when a credential may have changed, except when a helper gives
	// another. It is cheap, as each request asks for it.
	Version() uint64
}

// HostSource is a Source that can list its registries.
type HostSource interface {
	Source
	// Hosts lists the registries that there are credentials for.
	Hosts() []string
}

// SearchSource is a Source that can tell why it has no credential.
type SearchSource interface {
	Source
	// Searched says where a credential for r was looked for in vain, for people.
	Searched(r ref.Repository) []string
}

// Hosts lists the registries that a source has credentials for: none if s is no
// [HostSource], or nil.
func Hosts(s Source) []string {
	if h, ok := s.(HostSource); ok {
		return h.Hosts()
	}
	return nil
}

// Searched says where a source looked for a credential for r in vain: nowhere if s is no
// [SearchSource], or nil.
func Searched(s Source, r ref.Repository) []string {
	if h, ok := s.(SearchSource); ok {
		return h.Searched(r)
	}
	return nil
}

// next gives the best credential of a source that is none of those that were refused; the
// zero value where there is none, or s is nil.
func next(ctx context.Context, s Source, r ref.Repository, refused []Credential) (Credential, error) {
	if s == nil {
		return Credential{}, nil
	}
	if n, ok := s.(NextSource); ok && len(refused) > 0 {
		return n.Next(ctx, r, refused)
	}
	c, err := s.Credential(ctx, r)
	if c.in(refused) {
		c = Credential{}
	}
	return c, err
}

// OfAccount gives the credential of a source for r that has an account's name
// ([Credential.Account]). ok is false if there is none.
func OfAccount(ctx context.Context, s Source, r ref.Repository, account string) (c Credential, ok bool) {
	var others []Credential
	for len(others) < maxTries {
		c, err := next(ctx, s, r, others)
		if err != nil || c.Empty() {
			break
		}
		if c.Account() == account {
			return c, true
		}
		others = append(others, c)
	}
	return Credential{}, false
}

// versionOf gives the version of a source: 0 if its credentials never change.
func versionOf(s Source) uint64 {
	if v, ok := s.(VersionSource); ok {
		return v.Version()
	}
	return 0
}
