package auth

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// Authorizer answers challenges. It keeps one token for each repository and access,
// and one for each host's catalog: a scope that grows with every repository would
// grow the header beyond what servers take. It is safe for concurrent use.
type Authorizer struct {
	Next   http.RoundTripper // sends requests, those for tokens too
	Source Source            // nil: nobody
	Log    *slog.Logger      // nil: silent
	// PlainOK says whether a host may be sent credentials by http. nil: none may.
	PlainOK func(host string) bool

	authorizing shared[authorizationKey, authorization]
	refusals    hostRefusals
	scopes      scopeForms
	outages     outages
	pauses      pauses

	mu     sync.Mutex                                        // guards grants; nothing else is locked under it
	grants *simplelru.LRU[ref.Repository, map[Access]*grant] // of the repositories that were asked last; nil: none was
}

// maxGranted is how many repositories have their grants kept. A mount of weeks may ask any
// number of them. A repository whose grants went is challenged once more.
const maxGranted = 4096

// maxTries bounds the credentials that one request is sent with. People have logged in
// with docker, with podman and in the environment at most; one more is a helper's fresh one.
const maxTries = 4

// grant gives the grant of a repository for an access. A request that is under way keeps the
// one that it has.
func (a *Authorizer) grant(r ref.Repository, access Access) *grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.grants == nil {
		grants, err := simplelru.NewLRU[ref.Repository, map[Access]*grant](maxGranted, nil)
		if err != nil {
			panic(err) // the size is positive
		}
		a.grants = grants
	}
	of, ok := a.grants.Get(r)
	if !ok {
		of = map[Access]*grant{}
		a.grants.Add(r, of)
	}
	g := of[access]
	if g == nil {
		g = &grant{access: access}
		of[access] = g
	}
	return g
}

// Account names the account that r was last asked by; "" for nobody. Reading
// counts before writing.
func (a *Authorizer) Account(r ref.Repository) string {
	account := ""
	for _, g := range a.granted(r) {
		var asked bool
		if account, asked = g.account(); account != "" || asked && g.access.Do == Pull {
			break
		}
	}
	return account
}

// granted gives the grants of a repository, those for reading first.
func (a *Authorizer) granted(r ref.Repository) (grants []*grant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.grants == nil {
		return nil
	}
	of, _ := a.grants.Peek(r)
	for access, g := range of {
		if access.Do == Pull {
			grants = slices.Insert(grants, 0, g)
		} else {
			grants = append(grants, g)
		}
	}
	return grants
}

// Do sends a request for something of r. It answers the challenge that comes back, once; a
// body is then sent anew, by GetBody. A credential that is refused is followed by the
// source's next one. Reading is tried as nobody at last: an expired credential mustn't
// hide what is public. Use names the credentials that were shown, the refused ones too.
func (a *Authorizer) Do(req *http.Request, r ref.Repository, access Access) (resp *http.Response, use Use, err error) {
	x := &exchange{a: a, g: a.grant(r, access), r: r}
	defer x.trial.end()
	ctx := req.Context()
	if err := a.reread(ctx, x.g, r); err != nil {
		return nil, Use{}, err
	}
	x.has = x.g.now()
	if !x.has.known() && access.Do != Pull {
		x.g.learn(a.grant(r, Access{}))
		x.has = x.g.now()
	}
	if x.has.header == "" && x.has.known() { // the token has expired: renew it without asking
		if err := x.authorize(ctx, nil, nil); err != nil {
			return nil, x.use(), err
		}
	}
	resp, used, err := x.send(req)
	for err == nil && refuses(resp, used) {
		body := keepBody(resp)
		better, err := x.better(ctx, resp, body, used.URL)
		if err != nil {
			return nil, x.use(), err
		}
		if !better {
			break
		}
		if err := transport.Rewind(req); err != nil {
			return nil, Use{}, err
		}
		if resp, used, err = x.send(req); err != nil {
			return nil, Use{}, err
		}
	}
	if err != nil {
		return nil, Use{}, err
	}
	if x.showsPassword() && letsIn(resp, used) {
		a.pauses.end(x.shown())
	}
	if access.Do == Pull && !x.has.cred.Empty() && refuses(resp, used) && !x.nobodyRefused {
		if public := x.public(req); public != nil {
			transport.Aside(resp)
			return public, Use{}, nil
		}
	}
	return resp, x.use(), nil
}

// keepBody takes the body of a refusal into memory, so that its connection is free.
func keepBody(resp *http.Response) []byte {
	body := transport.Aside(resp)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return body
}

// letsIn says whether a registry answered to somebody whom it knows.
func letsIn(resp *http.Response, sent *http.Request) bool {
	return !refuses(resp, sent) && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode < http.StatusInternalServerError
}

// refuses says whether the registry itself refused a request, and not somebody to
// whom it led.
func refuses(resp *http.Response, sent *http.Request) bool {
	refused := resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized
	return refused && transport.SameOrigin(resp.Request.URL, sent.URL)
}

func (a *Authorizer) log() *slog.Logger {
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

// reread forgets what came of a credential that has changed since. That it has
// isn't seen from a version alone, which stands for all registries.
func (a *Authorizer) reread(ctx context.Context, g *grant, r ref.Repository) error {
	if a.Source == nil {
		return nil
	}
	version := versionOf(a.Source)
	if !g.older(version) {
		return nil
	}
	cred, err := a.Source.Credential(ctx, r)
	if err != nil {
		return err
	}
	g.compare(cred, version)
	return nil
}

// exchange is one request, with all that it takes to have it answered.
type exchange struct {
	a   *Authorizer
	g   *grant
	r   ref.Repository
	has authorization // that the request was sent with last

	answered      bool // the challenge was answered, once
	nobodyRefused bool // the request was refused without a credential, where Basic is asked for
	tries         int  // credentials that were refused

	wrong map[shown]*refusal // the passwords that were called wrong now
	rests *RestsError        // the last answer is a refusal of a moment ago; nil: it isn't
	trial trialOf            // of the password that was shown last
}

// use tells which credentials the request was sent with.
func (x *exchange) use() Use {
	u := useOf(x.g.shown(x.has))
	u.Rests = x.rests
	return u
}

// showsPassword says whether the exchange has a password that goes to the registry itself.
func (x *exchange) showsPassword() bool {
	return x.has.known() && x.has.challenge.Scheme == "basic" && x.has.header != ""
}

// shown is what the registry is shown.
func (x *exchange) shown() shown {
	return shown{shownTo{x.r.Host, x.has.cred.proof()}, x.r, x.g.access}
}

// send sends a request with the header of the exchange. A password that the registry called wrong
// isn't sent again so soon: the answer is that refusal once more.
func (x *exchange) send(req *http.Request) (*http.Response, *http.Request, error) {
	x.rests = nil
	if x.showsPassword() {
		if by, until, rests := x.a.pauses.held(x.shown(), x.has.version); rests && by.resp != nil {
			x.rests = &RestsError{until}
			if req.Body != nil {
				req.Body.Close()
			}
			return by.answer(req), req, nil
		}
		by, err := x.trial.begin(req.Context(), &x.a.pauses, x.shown().shownTo)
		if err != nil {
			return nil, nil, err
		}
		if by != nil && by.resp != nil {
			if req.Body != nil {
				req.Body.Close()
			}
			return by.answer(req), req, nil
		}
	}
	return x.a.send(req, x.has.header)
}

// better finds a better header after a refusal, and says whether there is one.
func (x *exchange) better(ctx context.Context, resp *http.Response, body []byte, from *url.URL) (bool, error) {
	before := x.has
	challenges := ParseChallenges(resp.Header.Values("WWW-Authenticate"))
	if resp.StatusCode == http.StatusUnauthorized && len(challenges) > 0 && !x.answered {
		x.answered = true
		if err := x.authorize(ctx, challenges, from); err != nil {
			return false, err
		}
		if x.has.header != before.header {
			x.nobodyRefused = before.header == "" && x.showsPassword()
			return true, nil
		}
	}
	if before.cred.Empty() {
		return false, nil
	}
	// 403 too: ECR says so of a login that is over, and another account may be allowed to.
	x.tries++
	wrong := resp.StatusCode == http.StatusUnauthorized && !x.g.bearer()
	switch {
	case x.rests != nil:
		x.g.refuse(before.cred, before.version)
	case wrong:
		if x.wrong == nil {
			x.wrong = map[shown]*refusal{}
		}
		by := calledWrong(resp, body)
		x.wrong[x.shown()] = by
		x.trial.refused(by)
		fallthrough
	default:
		x.a.refused(x.g, x.r, before, wrong)
	}
	next, err := x.a.next(ctx, x.g, x.r)
	if err != nil {
		return false, err
	}
	if next.Empty() || x.tries == maxTries {
		for at, by := range x.wrong {
			x.a.pauses.rest(at, by, before.version)
		}
		if len(x.g.refusals()) > 1 {
			x.g.forget(before.header) // the next request begins with the first credential
		}
		return false, nil
	}
	x.a.follows(x.r, before.cred, next)
	x.g.forget(before.header)
	err = x.authorize(ctx, nil, nil)
	return err == nil && x.has.header != before.header, err
}

// authorize brings a header in place of the one that was used, by challenges that came
// from an address, or, if there are none, by the last one. However many requests want it,
// it is got once: a patient request alone doesn't wait with the hurried, who give up early.
func (x *exchange) authorize(ctx context.Context, cs []Challenge, from *url.URL) error {
	plan := transport.PlanOf(ctx)
	key := authorizationKey{x.g, x.g.isAnonymous(), !plan.Hurried && !plan.Impatient}
	got, err := x.a.authorizing.do(ctx, key, func(ctx context.Context) (authorization, error) {
		return x.a.authorize(ctx, key, challenged{x.r, cs, from, x.has.header})
	})
	x.has = got
	return err
}

// public sends a refused request once more, as nobody. It gives nil if nobody is refused
// too.
func (x *exchange) public(req *http.Request) *http.Response {
	first := x.g.goAnonymous()
	resp, err := x.anonymous(req)
	if err == nil && resp.StatusCode < 400 {
		x.a.log().Warn("a credential was refused, and nobody is let in: going on without it", "repository", x.r, "credential", x.has.given.Origin)
		pause := refusedFor
		if x.rests != nil {
			pause = time.Until(x.rests.Until)
		}
		x.g.stayAnonymous(pause)
		return resp
	}
	if err == nil {
		transport.Aside(resp)
	}
	if first {
		x.g.endAnonymous()
	}
	return nil
}

// anonymous sends a request once more, as nobody.
func (x *exchange) anonymous(req *http.Request) (*http.Response, error) {
	as := *x
	as.has = authorization{}
	if x.g.bearer() {
		if err := as.authorize(req.Context(), nil, nil); err != nil {
			return nil, err
		}
	}
	if err := transport.Rewind(req); err != nil {
		return nil, err
	}
	resp, _, err := x.a.send(req, as.has.header)
	return resp, err
}
