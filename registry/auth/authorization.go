package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// authorizationKey is an authorization that is got once for all requests that want it.
type authorizationKey struct {
	g         *grant
	anonymous bool // as nobody, although there is a credential
	patient   bool // waits for the token endpoint as long as is usual
}

// challenged is a request that was challenged, or whose token has expired.
type challenged struct {
	r          ref.Repository
	challenges []Challenge // none: the grant's last one counts
	from       *url.URL    // that the challenges came from
	header     string      // that the request was sent with; "": none
}

// authorize gets an authorization, and gives it to the grant. It runs once at a time for
// each key.
func (a *Authorizer) authorize(ctx context.Context, key authorizationKey, q challenged) (authorization, error) {
	g := key.g
	now := g.now()
	if now.header != "" && now.header != q.header {
		return now, nil // another request has got it meanwhile
	}
	got := authorization{challenge: now.challenge, realm: now.realm, anonymous: key.anonymous}
	if q.challenges != nil {
		var err error
		if got.challenge, got.realm, err = choose(q.challenges, q.from); err != nil {
			return authorization{}, err
		}
	}
	if got.challenge == nil {
		return authorization{}, nil // forgotten meanwhile: the registry will challenge again
	}
	got.version = versionOf(a.Source)
	var err error
	if got.given, err = a.current(ctx, g, q.r); err != nil {
		return authorization{}, err
	}
	if !key.anonymous {
		got.cred = got.given
	}
	switch cred := got.cred; {
	case got.challenge.Scheme == "basic":
		if cred.Username != "" || cred.Password != "" {
			got.header, got.expires = basic(cred), cred.Expires
		}
	case cred.RegistryToken != "":
		got.header, got.expires = "Bearer "+cred.RegistryToken, cred.Expires
	default:
		f := &fetch{a: a, g: g, r: q.r, got: &got, refused: map[shown]*refusal{}}
		err = f.run(ctx)
	}
	if err == nil {
		g.set(got, key.anonymous)
	}
	return got, err
}

// current gives the credential that a repository is asked by: the next that wasn't refused
// or, if all were, the first.
func (a *Authorizer) current(ctx context.Context, g *grant, r ref.Repository) (Credential, error) {
	c, err := a.next(ctx, g, r)
	if refused := g.refusals(); err == nil && c.Empty() && len(refused) > 0 {
		return refused[0], nil
	}
	return c, err
}

// next gives the best credential that wasn't refused for the grant. Those that the host
// called wrong elsewhere come last; zero: all were refused.
func (a *Authorizer) next(ctx context.Context, g *grant, r ref.Repository) (Credential, error) {
	here, host := g.refusals(), a.refusals.of(r.Host, versionOf(a.Source))
	if len(host) > 0 {
		if c, err := next(ctx, a.Source, r, append(host, here...)); err != nil || !c.Empty() {
			return c, err
		}
	}
	return next(ctx, a.Source, r, here)
}

// refused notes that a credential was refused. wrong says that it was called wrong, and
// not only too little.
func (a *Authorizer) refused(g *grant, r ref.Repository, by authorization, wrong bool) {
	g.refuse(by.cred, by.version)
	if wrong {
		a.refusals.add(r.Host, by.cred, by.version)
	}
}

// follows logs that a credential takes the place of one that was refused.
func (a *Authorizer) follows(r ref.Repository, refused, next Credential) {
	if refused.Origin == next.Origin {
		a.log().Info("a credential was refused: trying the one that its helper gives now", "repository", r, "credential", next.Origin)
		return
	}
	a.log().Warn("a credential was refused: trying the next", "repository", r, "credential", refused.Origin, "next", next.Origin, "hint", refused.Hint)
}

// ErrChallenge is matched where a registry asks for something that can't be
// given.
var ErrChallenge = errors.New("no way to answer the registry's challenge")

// choose picks the strongest challenge that can be answered.
func choose(cs []Challenge, from *url.URL) (*Challenge, *url.URL, error) {
	var bad error
	for _, scheme := range []string{"bearer", "basic"} {
		for _, c := range cs {
			if c.Scheme != scheme {
				continue
			}
			if scheme == "basic" {
				return &c, nil, nil
			}
			if c.Params["realm"] == "" {
				continue
			}
			realm, err := transport.Resolve(from, c.Params["realm"])
			if err == nil {
				return &c, realm, nil
			}
			bad = err
		}
	}
	if bad != nil {
		return nil, nil, bad
	}
	var names []string
	for _, c := range cs {
		names = append(names, c.Scheme)
	}
	return nil, nil, fmt.Errorf("%w: it offers %s", ErrChallenge, strings.Join(slices.Compact(names), ", "))
}

func basic(c Credential) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
}
