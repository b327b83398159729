package auth

import (
	"net/url"
	"sync"
	"time"
)

// grant is what a registry gave for one repository and access.
type grant struct {
	access Access

	mu sync.Mutex
	gift
	back time.Time // when the credential is tried again, where anonymous
}

// gift is what came of an answer.
type gift struct {
	challenge *Challenge
	realm     *url.URL
	header    string     // Authorization
	expires   time.Time  // zero: not known
	cred      Credential // that was used
	said      Credential // that the source gave, of version
	version   uint64
	anonymous bool // what the source gave was refused where nobody would have been let in
}

// held is what a request is sent with.
type held struct {
	header string
	cred   Credential // that it came by
	origin string     // of what the source gave, be it used or refused
	known  bool       // what the registry asks for
}

func (g *gift) held() held { return held{g.header, g.cred, g.said.Origin, g.challenge != nil} }

func (g *grant) now() held {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.held()
	if !g.expires.IsZero() && time.Now().After(g.expires) {
		h.header = ""
	}
	return h
}

// asked is what the registry asked for last.
func (g *grant) asked() (*Challenge, *url.URL) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.challenge, g.realm
}

func (g *grant) bearer() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.challenge != nil && g.challenge.Scheme == "bearer"
}

// take takes what came of an answer, as nobody or not.
func (g *grant) take(got gift, anonymous bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.anonymous != anonymous {
		return // that has changed meanwhile
	}
	if got.anonymous && !anonymous {
		g.back = time.Now().Add(publicFor)
	}
	g.gift = got
}

// forget forgets a header, unless there is another already.
func (g *grant) forget(header string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.header == header {
		g.header = ""
	}
}

// older says whether what is held came of an older version of the source.
func (g *grant) older(version uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.version != version && (g.header != "" || g.anonymous)
}

// compare forgets what is held, but for the challenge, where the source of this
// version gives another credential.
func (g *grant) compare(cred Credential, version uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !cred.Same(g.said) {
		g.header, g.cred, g.said = "", Credential{}, Credential{}
		g.anonymous, g.back = false, time.Time{}
	}
	g.version = version
}

// whose names the account that was let in, and says whether anybody was.
func (g *grant) whose() (account string, asked bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cred.Account(), g.header != ""
}

// goAnonymous forgets the credential, unless that was done already.
func (g *grant) goAnonymous() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.anonymous {
		return false
	}
	g.anonymous, g.header, g.cred = true, "", Credential{}
	return true
}

// publicFor is how long a refused credential isn't tried again where anyone may
// read: it may have been renewed meanwhile.
const publicFor = 5 * time.Minute

// until ends the anonymous time after d at the latest.
func (g *grant) until(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.back = time.Now().Add(d)
}

// isAnonymous says whether it is asked as nobody. That ends when its time is over.
func (g *grant) isAnonymous() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.anonymous && !g.back.IsZero() && time.Now().After(g.back) {
		g.anonymous, g.back = false, time.Time{}
	}
	return g.anonymous
}

// goBack takes the credential up again.
func (g *grant) goBack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.anonymous, g.header, g.challenge = false, "", nil
}
