package auth

import (
	"net/url"
	"sync"
	"time"
)

const (
	// refusedFor is how long a refused credential isn't shown again where another, or
	// nobody, was let in. It may be good again: an account that was unlocked, a right that
	// was given. Registries lock accounts after some wrong passwords in minutes, so the time
	// isn't shorter.
	refusedFor = 5 * time.Minute
	// maxRefused bounds the refused credentials that a grant remembers. A helper may give
	// a new one every few seconds.
	maxRefused = 16
)

// grant is the authorization that a registry gave for one repository and access, and the
// credentials that it refused.
type grant struct {
	access Access

	mu sync.Mutex // guards the rest; nothing else is locked under it
	authorization
	anonymous bool         // the authorization is nobody's, although there is a credential
	refused   []Credential // that were refused here, in the order of trial
	retryAt   time.Time    // when refused and anonymous end; zero: they don't
}

// authorization is the Authorization header that a challenge led to, and when it expires.
type authorization struct {
	challenge *Challenge // that was met last; nil: none was, or it was forgotten
	realm     *url.URL   // the token endpoint, with a challenge by Bearer
	header    string     // "": none is needed, or there is none yet
	expires   time.Time  // of the header; zero: not known
	cred      Credential // that the header is made of; zero: nobody's
	given     Credential // that the source gave, be it used or refused
	version   uint64     // of the source, when it gave that, or when that was refused
	anonymous bool       // given was refused, and nobody was let in
	again     time.Time  // with anonymous: when given is shown again
}

// known says whether it is known what the registry asks for.
func (a authorization) known() bool { return a.challenge != nil }

// now gives the authorization, without its header if that has expired.
func (g *grant) now() authorization {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lapse()
	a := g.authorization
	if !a.expires.IsZero() && time.Now().After(a.expires) {
		a.header = ""
	}
	return a
}

// lapse forgets what was refused, when its time is over: all credentials are tried
// again, from the first on. mu is held.
func (g *grant) lapse() {
	if g.retryAt.IsZero() || time.Now().Before(g.retryAt) {
		return
	}
	if len(g.refused) > 0 && !g.anonymous {
		g.header = ""
	}
	g.anonymous, g.refused, g.retryAt = false, nil, time.Time{}
}

// set takes an authorization that was got as nobody, or not.
func (g *grant) set(got authorization, anonymous bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.anonymous != anonymous {
		return // that has changed meanwhile
	}
	if got.anonymous && !anonymous {
		g.anonymous, g.retryAt = true, got.again
	}
	g.authorization = got
}

// refuse notes a credential that was refused, and that a source of this version gave.
func (g *grant) refuse(c Credential, version uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.version = version
	if c.in(g.refused) {
		return
	}
	if len(g.refused) == maxRefused {
		g.refused = g.refused[1:]
	}
	g.refused = append(g.refused[:len(g.refused):len(g.refused)], c)
	if g.retryAt.IsZero() {
		g.retryAt = time.Now().Add(refusedFor)
	}
}

// refusals gives the credentials that were refused.
func (g *grant) refusals() []Credential {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lapse()
	return g.refused
}

// shown gives the credentials that an authorization comes of: those that were refused,
// and the one that it has.
func (g *grant) shown(a authorization) []Credential {
	all := g.refusals()
	if c := a.given; !c.Empty() && !c.in(all) {
		all = append(all[:len(all):len(all)], c)
	}
	return all
}

// forget forgets a header, unless there is another already.
func (g *grant) forget(header string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.header == header {
		g.header = ""
	}
}

// older says whether the authorization, or a refusal, came of an older version of the
// source.
func (g *grant) older(version uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.version != version && (g.header != "" || g.anonymous || len(g.refused) > 0)
}

// compare forgets all but the challenge, if the source of this version gives another
// credential, or one of those that it gave was refused: the one that replaces it may be
// any.
func (g *grant) compare(cred Credential, version uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.refused) > 0 || g.anonymous || !cred.same(g.given) {
		g.header, g.cred, g.given = "", Credential{}, Credential{}
		g.anonymous, g.refused, g.retryAt = false, nil, time.Time{}
	}
	g.version = version
}

// account names the account that was let in, and says whether anybody was.
func (g *grant) account() (name string, asked bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cred.Account(), g.header != ""
}

// bearer says whether the registry asks for tokens.
func (g *grant) bearer() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.challenge != nil && g.challenge.Scheme == "bearer"
}

// isAnonymous says whether requests go as nobody.
func (g *grant) isAnonymous() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lapse()
	return g.anonymous
}

// goAnonymous has requests go as nobody. It says false if they did already.
func (g *grant) goAnonymous() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.anonymous {
		return false
	}
	g.anonymous, g.header, g.cred = true, "", Credential{}
	return true
}

// stayAnonymous has requests go as nobody for a time.
func (g *grant) stayAnonymous(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.retryAt = time.Now().Add(d)
}

// endAnonymous takes the credentials up again: nobody wasn't let in either.
func (g *grant) endAnonymous() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.anonymous, g.header, g.challenge = false, "", nil
}

// learn gives a grant that was never challenged what another of the same
// repository knows, so that its token is got without a refusal before. The scope
// is of the other one.
func (g *grant) learn(from *grant) {
	from.mu.Lock()
	c, realm := from.challenge, from.realm
	from.mu.Unlock()
	if c == nil {
		return
	}
	own := c.without("scope")
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.challenge == nil {
		g.challenge, g.realm = own, realm
	}
}
