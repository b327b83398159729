package auth

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"

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
	Log    *slog.Logger
	// PlainOK says whether a host may be sent credentials by http.
	PlainOK func(host string) bool

	answers shared[asking, outcome]

	mu     sync.Mutex                                        // guards grants
	grants *simplelru.LRU[ref.Repository, map[Access]*grant] // of the repositories that were asked last; nil: none was
}

// maxGranted is how many repositories have their grants kept. A mount of weeks may ask any
// number of them. A repository whose grants went is challenged once more.
const maxGranted = 4096

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
		if account, asked = g.whose(); account != "" || asked && g.access.Do == Pull {
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

// Do sends a request for something of r, and answers the challenge that comes
// back, once; a body is then sent anew, by GetBody. A credential that is refused is
// looked for anew, once, and where there is another the request is sent with that.
// A refusal of what the credential reads is tried once more without it: an expired
// credential mustn't hide what is public. It gives the origin of the credential that
// was used last.
func (a *Authorizer) Do(req *http.Request, r ref.Repository, access Access) (resp *http.Response, origin string, err error) {
	x := &exchange{a: a, g: a.grant(r, access), r: r}
	ctx := req.Context()
	if err := a.reread(ctx, x.g, r); err != nil {
		return nil, "", err
	}
	x.held = x.g.now()
	if !x.held.known && access.Do != Pull {
		x.g.learn(a.grant(r, Access{}))
		x.held = x.g.now()
	}
	if x.held.header == "" && x.held.known { // the token is over: renew it without asking
		if err := x.answer(ctx, nil, nil); err != nil {
			return nil, x.held.origin, err
		}
	}
	resp, used, err := a.send(req, x.held.header)
	for err == nil && refuses(resp, used) {
		keepRefusal(resp)
		var again bool
		if again, err = x.again(ctx, resp, used.URL); err != nil {
			return nil, x.held.origin, err
		}
		if !again {
			break
		}
		if err := transport.Rewind(req); err != nil {
			return nil, "", err
		}
		resp, used, err = a.send(req, x.held.header)
	}
	if err != nil {
		return nil, "", err
	}
	if access.Do == Pull && !x.held.cred.Empty() && refuses(resp, used) {
		first := x.g.goAnonymous()
		again, err := x.anonymous(req)
		if err == nil && again.StatusCode < 400 {
			a.log().Warn("a credential was refused, and nobody is let in: going on without it", "repository", r, "credential", x.held.origin)
			transport.Aside(resp)
			x.g.until(publicFor)
			return again, "", nil
		}
		if err == nil {
			transport.Aside(again)
		}
		if first {
			x.g.goBack()
		}
	}
	return resp, x.held.origin, nil
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
	version := a.Source.Version()
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

// exchange is one request with all that it takes.
type exchange struct {
	a    *Authorizer
	g    *grant
	r    ref.Repository
	held held // what the last request was sent with

	answered, renewed bool // the challenge, the credential: each once
}

// again looks for something better after a refusal, and says whether there is.
func (x *exchange) again(ctx context.Context, resp *http.Response, from *url.URL) (bool, error) {
	before := x.held
	challenges := ParseChallenges(resp.Header.Values("WWW-Authenticate"))
	if resp.StatusCode == http.StatusUnauthorized && len(challenges) > 0 && !x.answered {
		x.answered = true
		if err := x.answer(ctx, challenges, from); err != nil {
			return false, err
		}
		if x.held.header != before.header {
			return true, nil
		}
	}
	// ECR says 403 of a login that is over. Others say 403 of what isn't allowed, which
	// no file changes.
	lost := resp.StatusCode == http.StatusUnauthorized || !before.cred.Until.IsZero()
	if x.renewed || !lost || before.cred.Empty() {
		return false, nil
	}
	x.renewed = true
	fresh, err := x.a.Source.Renew(ctx, x.r, before.cred)
	if err != nil || fresh.Empty() || fresh.Same(before.cred) {
		return false, err
	}
	x.g.forget(before.header)
	err = x.answer(ctx, nil, nil)
	return err == nil && x.held.header != before.header, err
}

// answer brings a header in place of the one that was used, by challenges that came
// from an address, or, where there are none, by the last one. However many want it,
// it is got once.
func (x *exchange) answer(ctx context.Context, cs []Challenge, from *url.URL) error {
	ask := asking{x.g, x.g.isAnonymous()}
	out, err := x.a.answers.do(ctx, ask, func(ctx context.Context) (outcome, error) {
		return x.a.answer(ctx, ask, question{x.r, cs, from, x.held.header, x.renewed})
	})
	x.held, x.renewed = out.held, x.renewed || out.renewed
	return err
}

// anonymous sends a request once more, as nobody.
func (x *exchange) anonymous(req *http.Request) (*http.Response, error) {
	as := *x
	as.held = held{}
	if x.g.bearer() {
		if err := as.answer(req.Context(), nil, nil); err != nil {
			return nil, err
		}
	}
	if err := transport.Rewind(req); err != nil {
		return nil, err
	}
	resp, _, err := x.a.send(req, as.held.header)
	return resp, err
}
