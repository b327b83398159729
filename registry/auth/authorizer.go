package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// Authorizer answers challenges. It keeps one token for each repository and access,
// and one for each host's catalog: a scope that grows with every repository would
// grow the header beyond what servers take. It is safe for concurrent use.
type Authorizer struct {
	Next   http.RoundTripper // sends requests, those for tokens too
	Source Source            // nil: nobody
	Log    *slog.Logger
	// PlainOK says whether a host may be sent credentials by http.
	PlainOK func(host string) bool

	mu     sync.Mutex
	grants map[ref.Repository]map[Access]*grant
}

func (a *Authorizer) grant(r ref.Repository, access Access) *grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	of := a.grants[r]
	if of == nil {
		if a.grants == nil {
			a.grants = map[ref.Repository]map[Access]*grant{}
		}
		of = map[Access]*grant{}
		a.grants[r] = of
	}
	g := of[access]
	if g == nil {
		g = &grant{turn: make(chan struct{}, 1), access: access}
		of[access] = g
	}
	return g
}

// Account names the account that r was last asked by; "" for nobody. Reading
// counts before writing.
func (a *Authorizer) Account(r ref.Repository) string {
	a.mu.Lock()
	grants := []*grant{}
	for access, g := range a.grants[r] {
		if access.Do == Pull {
			grants = slices.Insert(grants, 0, g)
		} else {
			grants = append(grants, g)
		}
	}
	a.mu.Unlock()
	account := ""
	for _, g := range grants {
		var asked bool
		if account, asked = g.whose(); account != "" || asked && g.access.Do == Pull {
			break
		}
	}
	return account
}

// Do sends a request for something of r, and answers the challenge that comes
// back, once; a body is then sent anew, by GetBody. A refusal of what the credential
// reads is tried once more without it: an expired credential mustn't hide what is
// public. It gives the origin of the credential that was used last.
func (a *Authorizer) Do(req *http.Request, r ref.Repository, access Access) (resp *http.Response, origin string, err error) {
	g := a.grant(r, access)
	ctx := req.Context()
	header, _, known := g.now()
	if !known && access.Do != Pull {
		g.learn(a.grant(r, Access{}))
		header, _, known = g.now()
	}
	if header == "" && known { // the token is over: renew it without asking
		if err := a.answer(ctx, g, r, nil, nil, header); err != nil {
			_, origin, _ = g.now()
			return nil, origin, err
		}
		header, _, _ = g.now()
	}
	resp, used, err := a.send(req, header)
	if err != nil {
		return nil, "", err
	}
	if resp.StatusCode == http.StatusUnauthorized && transport.SameOrigin(resp.Request.URL, used.URL) {
		challenges := ParseChallenges(resp.Header.Values("WWW-Authenticate"))
		if len(challenges) > 0 {
			keepRefusal(resp)
			if err := a.answer(ctx, g, r, challenges, used.URL, header); err != nil {
				_, origin, _ = g.now()
				return nil, origin, err
			}
			before := header
			// Nothing to answer with: the refusal stands, and isn't asked for twice.
			if header, _, _ = g.now(); header != before {
				if err := transport.Rewind(req); err != nil {
					return nil, "", err
				}
				if resp, used, err = a.send(req, header); err != nil {
					return nil, "", err
				}
			}
		}
	}
	_, origin, _ = g.now()
	refused := resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized
	if refused && access.Do == Pull && origin != "" && transport.SameOrigin(resp.Request.URL, used.URL) && g.goAnonymous() {
		again, err := a.anonymous(req, g, r)
		if err == nil && again.StatusCode < 400 {
			a.warn().Warn("a credential was refused, and nobody is let in: going on without it", "repository", r, "credential", origin)
			transport.Aside(resp)
			g.until(publicFor)
			return again, "", nil
		}
		if err == nil {
			transport.Aside(again)
		}
		g.goBack()
	}
	return resp, origin, nil
}

func (a *Authorizer) warn() *slog.Logger {
	if a.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Log
}

// send sends a copy of req with a header. The copy's URL tells by which scheme
// it went.
func (a *Authorizer) send(req *http.Request, header string) (*http.Response, *http.Request, error) {
	c := req.Clone(req.Context())
	if header != "" {
		c.Header.Set("Authorization", header)
	}
	resp, err := a.Next.RoundTrip(c)
	return resp, c, err
}

// keepRefusal takes the body of a refusal into memory, so that its connection is
// free.
func keepRefusal(resp *http.Response) {
	resp.Body = io.NopCloser(bytes.NewReader(transport.Aside(resp)))
}

func (a *Authorizer) anonymous(req *http.Request, g *grant, r ref.Repository) (*http.Response, error) {
	g.mu.Lock()
	bearer := g.challenge != nil && g.challenge.Scheme == "bearer"
	g.mu.Unlock()
	header := ""
	if bearer {
		if err := a.answer(req.Context(), g, r, nil, nil, ""); err != nil {
			return nil, err
		}
		header, _, _ = g.now()
	}
	resp, _, err := a.send(req, header)
	return resp, err
}

// answer brings the grant a header: by the challenges that came from an address,
// or, where there are none, by the last one. used is the header that was refused.
func (a *Authorizer) answer(ctx context.Context, g *grant, r ref.Repository, cs []Challenge, from *url.URL, used string) error {
	began := time.Now()
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	g.mu.Lock()
	if g.anonymous && !g.back.IsZero() && time.Now().After(g.back) {
		g.anonymous, g.back = false, time.Time{}
	}
	g.mu.Unlock()
	if header, _, _ := g.now(); header != "" && header != used {
		return nil // another has answered meanwhile
	}
	g.mu.Lock()
	c, realm, anonymous := g.challenge, g.realm, g.anonymous
	failed, failedAt := g.failed, g.failedAt
	g.mu.Unlock()
	if failedAt.After(began) {
		return failed // for all who waited, not one after the other
	}
	if cs != nil {
		var err error
		if c, realm, err = choose(cs, from); err != nil {
			return err
		}
	}
	var cred Credential
	if a.Source != nil && !anonymous {
		var err error
		if cred, err = a.Source.Credential(ctx, r); err != nil {
			return err
		}
	}
	header, life, account := "", time.Duration(0), cred.Account()
	switch {
	case c.Scheme == "basic":
		if cred.Username != "" || cred.Password != "" {
			header = basic(cred)
		}
	case cred.RegistryToken != "":
		header = "Bearer " + cred.RegistryToken
	default:
		var token string
		var err error
		token, life, err = a.token(ctx, c, realm, g.access.scopes(r, c.Params["scope"]), cred)
		var refused *tokenError
		if errors.As(err, &refused) && refused.denied() && !cred.Empty() && g.access.Do == Pull {
			// What is public can be had without. What isn't says so by its own answer.
			a.warn().Warn("the token endpoint refused a credential: trying without it", "repository", r, "credential", cred.Origin, "cause", err)
			account = ""
			token, life, err = a.token(ctx, c, realm, g.access.scopes(r, c.Params["scope"]), Credential{})
		}
		if err != nil {
			g.mu.Lock()
			g.origin = cred.Origin
			if ctx.Err() == nil {
				g.failed, g.failedAt = err, time.Now()
			}
			g.mu.Unlock()
			return err
		}
		header = "Bearer " + token
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.challenge, g.realm, g.header, g.origin, g.account = c, realm, header, cred.Origin, account
	g.expires = time.Time{}
	if life > 0 {
		g.expires = time.Now().Add(life - min(earlyBy, life/4))
	}
	return nil
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
