package auth

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

const (
	// firstPause is how long a credential isn't shown to a host that refused it, where there is
	// no other: programs that fail try again at once. It is as long as a helper isn't asked again
	// after a refusal. The pause doubles with each refusal that follows one.
	firstPause = renewAge
	// longestPause bounds a pause: whoever mends an account waits no longer. Doubling up to it
	// shows a wrong password some six times in the first three minutes. GitLab, for one, bans an
	// address for 30 failed logins in three minutes (docs.gitlab.com, "Failed authentication ban
	// for Git and container registry", seen 2026).
	longestPause = refusedFor
	// maxPauses bounds the pauses that are remembered.
	maxPauses = 4096
)

// pauses keeps credentials from hosts that refused them, where there was no other to try: accounts
// are locked for wrong passwords that come with each read. A credential that a host called wrong (401)
// rests at all of the host, unless the host let it in a moment ago: registries answer 401 to
// what isn't allowed, too. Then, and after any other refusal, it rests for one grant.
type pauses struct {
	mu     sync.Mutex            // guards the rest; nothing else is locked under it
	of     map[shown]pause       // by what is held back
	letIn  map[shownTo]time.Time // when a host last let a credential in
	trials map[shownTo]*trial    // under way; see trialOf
}

// shownTo is a credential that is shown to a host.
type shownTo struct {
	host  string    // and port, of the registry or of the token endpoint
	proof [4]string // of the credential
}

// shown is what a credential is shown for: a grant or, with the zero values, anything at the host.
type shown struct {
	shownTo
	r      ref.Repository
	access Access
}

// pause is the time in which a credential isn't shown.
type pause struct {
	refusal *refusal
	version uint64 // of the source that gave the credential: the pause ends with another
	until   time.Time
	length  time.Duration
}

// refusal is how a host refused a credential.
type refusal struct {
	resp  *http.Response // of a registry, without its body and its request; nil: a token endpoint refused
	body  []byte         // of resp
	err   error          // of a token endpoint; nil: a registry refused
	wrong bool           // the credential was called wrong, and not only too little
}

// calledWrong is the refusal of a registry that called a password wrong.
func calledWrong(resp *http.Response, body []byte) *refusal {
	kept := *resp
	kept.Header, kept.Body, kept.Request = resp.Header.Clone(), nil, nil
	return &refusal{resp: &kept, body: body, wrong: true}
}

// rest begins a pause after a refusal, of a credential that a source of this version gave. A
// refusal of what was sent before the pause began changes nothing.
func (p *pauses) rest(at shown, by *refusal, version uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if by.wrong && now.Sub(p.letIn[at.shownTo]) > refusedFor {
		at = shown{shownTo: at.shownTo}
	}
	before, known := p.of[at]
	if known && before.version == version && now.Before(before.until) {
		return
	}
	length := firstPause
	if known && by.wrong {
		length = min(2*before.length, longestPause)
	}
	if len(p.of) >= maxPauses {
		maps.DeleteFunc(p.of, func(_ shown, old pause) bool { return now.After(old.until) })
	}
	if p.of == nil || len(p.of) >= maxPauses {
		p.of = map[shown]pause{}
	}
	p.of[at] = pause{by, version, now.Add(length), length}
}

// held gives the refusal after which a credential of a source of this version isn't shown yet.
func (p *pauses) held(at shown, version uint64) (by *refusal, until time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range []shown{{shownTo: at.shownTo}, at} {
		if old, ok := p.of[at]; ok && old.version == version && time.Now().Before(old.until) {
			return old.refusal, old.until, true
		}
	}
	return nil, time.Time{}, false
}

// end notes that a host let a credential in.
func (p *pauses) end(at shown) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.of, at)
	delete(p.of, shown{shownTo: at.shownTo})
	now := time.Now()
	if len(p.letIn) >= maxPauses {
		maps.DeleteFunc(p.letIn, func(_ shownTo, at time.Time) bool { return now.Sub(at) > refusedFor })
	}
	if p.letIn == nil || len(p.letIn) >= maxPauses {
		p.letIn = map[shownTo]time.Time{}
	}
	p.letIn[at.shownTo] = now
}

// RestsError says that a refusal is one of a moment ago: what was refused then isn't tried again
// yet, as accounts are locked for wrong passwords.
type RestsError struct{ Until time.Time }

func (e *RestsError) Error() string {
	return fmt.Sprintf("it isn't tried again before %s", e.Until.Format(time.TimeOnly))
}

// answer is the refusal as the answer to another request.
func (r *refusal) answer(req *http.Request) *http.Response {
	resp := *r.resp
	resp.Header = r.resp.Header.Clone()
	resp.Body, resp.Request = io.NopCloser(bytes.NewReader(r.body)), req
	return &resp
}
