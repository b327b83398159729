package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

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
		err = a.fetch(ctx, g, q.r, &got)
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

// fetch gets a token, by the credential of got, or by the next where that is refused. For
// reading it tries without one at last: what is public can be had so, and what isn't says
// so by its own answer.
func (a *Authorizer) fetch(ctx context.Context, g *grant, r ref.Repository, got *authorization) error {
	at := func() shown { return shown{shownTo{got.realm.Host, got.cred.proof()}, r, g.access} }
	refused := map[shown]*refusal{} // what was refused now
	var again time.Time             // when what rests is shown again; zero: nothing rests
	get := func() error {
		if by, until, rests := a.pauses.held(at(), got.version); rests && by.err != nil {
			again = until
			if !got.cred.Empty() {
				g.refuse(got.cred, got.version)
			}
			return fmt.Errorf("%w: %w", by.err, &RestsError{until})
		}
		began := time.Now() // by this clock: that of the server needn't be right
		token, life, err := a.token(ctx, got.challenge, got.realm, g.access, r, got.cred)
		nobody := got.cred.Empty()
		switch {
		case err == nil:
			got.header, got.expires = "Bearer "+token, began.Add(life-min(earlyBy, life/4))
			if !nobody {
				a.pauses.end(at())
			}
		case refusesCredential(err):
			wrong := !nobody && statusOf(err) == http.StatusUnauthorized
			refused[at()] = &refusal{err: err, wrong: wrong}
			if !nobody {
				a.refused(g, r, *got, wrong)
			}
		}
		return err
	}
	err := get()
	for tries := 1; refusesCredential(err) && !got.cred.Empty(); tries++ {
		next, nextErr := a.next(ctx, g, r)
		if nextErr != nil {
			return nextErr
		}
		if next.Empty() || tries == maxTries {
			break
		}
		a.follows(r, got.cred, next)
		got.cred, got.given = next, next
		err = get()
	}
	if refusesCredential(err) && !got.cred.Empty() && g.access.Do == Pull {
		bad := got.cred
		got.cred = Credential{}
		cause := err
		if err = get(); err == nil {
			a.log().Warn("the token endpoint refused a credential: going on without it", "repository", r, "credential", bad.Origin, "cause", cause, "hint", bad.Hint)
			got.anonymous, got.again = true, again
			if again.IsZero() {
				got.again = time.Now().Add(refusedFor)
			}
		} else {
			got.cred = bad
		}
	}
	if err == nil && got.cred.Empty() || refusesCredential(err) { // none of the source's was let in
		for at, by := range refused {
			a.pauses.rest(at, by, got.version)
		}
	}
	return err
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
