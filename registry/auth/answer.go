package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// keepRefusal takes the body of a refusal into memory, so that its connection is
// free.
func keepRefusal(resp *http.Response) {
	resp.Body = io.NopCloser(bytes.NewReader(transport.Aside(resp)))
}

// asking is what is answered once for all who want it.
type asking struct {
	g         *grant
	anonymous bool // as nobody, although there is a credential
}

// question is what is answered.
type question struct {
	r       ref.Repository
	cs      []Challenge // none: what the registry asked for last
	from    *url.URL    // where they came from
	used    string      // the header that was refused
	renewed bool        // the credential was looked for anew already
}

// outcome is what came of it.
type outcome struct {
	held    held
	renewed bool
}

// answer brings the grant a header. A credential that the token endpoint refuses is
// looked for anew. It runs once at a time for each asking.
func (a *Authorizer) answer(ctx context.Context, ask asking, q question) (out outcome, err error) {
	g := ask.g
	if now := g.now(); now.header != "" && now.header != q.used {
		return outcome{now, false}, nil // another has answered meanwhile
	}
	got := gift{anonymous: ask.anonymous}
	if got.challenge, got.realm = g.asked(); q.cs != nil {
		if got.challenge, got.realm, err = choose(q.cs, q.from); err != nil {
			return outcome{}, err
		}
	}
	if got.challenge == nil {
		return outcome{}, nil // forgotten meanwhile: the registry will ask again
	}
	if a.Source != nil {
		got.version = a.Source.Version()
		if got.said, err = a.Source.Credential(ctx, q.r); err != nil {
			return outcome{}, err
		}
	}
	if !ask.anonymous {
		got.cred = got.said
	}
	switch cred := got.cred; {
	case got.challenge.Scheme == "basic":
		if cred.Username != "" || cred.Password != "" {
			got.header, got.expires = basic(cred), cred.Until
		}
	case cred.RegistryToken != "":
		got.header, got.expires = "Bearer "+cred.RegistryToken, cred.Until
	default:
		out.renewed, err = a.fetch(ctx, g.access, q, &got)
	}
	out.held = got.held()
	if err == nil {
		g.take(got, ask.anonymous)
	}
	return out, err
}

// fetch gets a token. Where the credential is refused another is looked for, unless
// that was done already; for reading it is tried without one at last: what is public
// can be had so, and what isn't says so by its own answer.
func (a *Authorizer) fetch(ctx context.Context, access Access, q question, got *gift) (renewed bool, err error) {
	scopes := access.scopes(q.r, got.challenge.Params["scope"])
	get := func() error {
		began := time.Now() // by this clock: that of the server needn't be right
		token, life, err := a.token(ctx, got.challenge, got.realm, scopes, got.cred)
		if err == nil {
			got.header, got.expires = "Bearer "+token, began.Add(life-min(earlyBy, life/4))
		}
		return err
	}
	err = get()
	var refused *tokenError
	if !errors.As(err, &refused) || !refused.denied() || got.cred.Empty() {
		return false, err
	}
	if !q.renewed {
		fresh, renewErr := a.Source.Renew(ctx, q.r, got.cred)
		if renewErr != nil {
			return true, renewErr
		}
		if !fresh.Empty() && !fresh.Same(got.cred) {
			got.cred, got.said = fresh, fresh
			if err = get(); !errors.As(err, &refused) || !refused.denied() {
				return true, err
			}
		}
	}
	if access.Do != Pull {
		return true, err
	}
	a.log().Warn("the token endpoint refused a credential: trying without it", "repository", q.r, "credential", got.cred.Origin, "cause", err)
	bad := got.cred
	got.cred = Credential{}
	if err = get(); err != nil {
		got.cred = bad
		return true, err
	}
	got.anonymous = true
	return true, nil
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
