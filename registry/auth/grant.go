package auth

import (
	"net/url"
	"sync"
	"time"
)

// grant is what a registry gave for one repository and access.
type grant struct {
	access Access

	// turn is held by the one who answers a challenge; the others wait, each as
	// long as it wants to, and then find the answer here.
	turn chan struct{}

	mu        sync.Mutex
	header    string // Authorization
	expires   time.Time
	challenge *Challenge
	realm     *url.URL
	origin    string    // of the credential
	account   string    // that was let in; "" for nobody
	back      time.Time // when the credential is tried again
	failed    error     // of the last answer that failed, and when
	failedAt  time.Time
	anonymous bool // the credential was refused where nobody would have been let in
}

func (g *grant) now() (header, origin string, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.header != "" && !g.expires.IsZero() && time.Now().After(g.expires) {
		return "", g.origin, g.challenge != nil
	}
	return g.header, g.origin, g.challenge != nil
}

// whose names the account that was let in, and says whether anybody was.
func (g *grant) whose() (account string, asked bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.account, g.header != ""
}

// goAnonymous forgets the credential, unless that was done already.
func (g *grant) goAnonymous() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.anonymous {
		return false
	}
	g.anonymous, g.header, g.account = true, "", ""
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

// goBack takes the credential up again.
func (g *grant) goBack() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.anonymous, g.header, g.challenge = false, "", nil
}
