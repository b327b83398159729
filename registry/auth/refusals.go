package auth

import (
	"maps"
	"sync"
	"time"
)

// hostRefusals remembers the credentials that hosts called wrong, so that another credential is
// tried first at all repositories of the host: accounts are locked for wrong passwords that are
// shown a thousand times. A wrong password without another beside it rests: see pauses.
type hostRefusals struct {
	mu     sync.Mutex // guards byHost; nothing else is locked under it
	byHost map[string]refusedAt
}

// refusedAt are the credentials that one host called wrong.
type refusedAt struct {
	creds   []Credential
	version uint64    // of the source that gave them
	until   time.Time // when they are tried first again
}

// add notes a credential that a source of this version gave.
func (h *hostRefusals) add(host string, c Credential, version uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(h.byHost, func(_ string, at refusedAt) bool { return now.After(at.until) })
	if h.byHost == nil {
		h.byHost = map[string]refusedAt{}
	}
	at := h.byHost[host]
	if at.version != version || len(at.creds) >= maxRefused {
		at = refusedAt{version: version}
	}
	if !c.in(at.creds) {
		at.creds = append(at.creds[:len(at.creds):len(at.creds)], c)
	}
	at.until = now.Add(refusedFor)
	h.byHost[host] = at
}

// of gives the credentials of a source of this version that a host called wrong. The list
// is the caller's.
func (h *hostRefusals) of(host string, version uint64) []Credential {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.byHost[host]
	if at.version != version || time.Now().After(at.until) {
		return nil
	}
	return append([]Credential(nil), at.creds...)
}
