package auth

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	helperAge     = 5 * time.Minute  // how long a helper's reply counts
	renewAge      = 5 * time.Second  // how long it counts after its credential was refused
	failureAge    = time.Minute      // how long a helper that failed isn't asked
	helperTimeout = 30 * time.Second // for one reply: some ask the person
)

// helpers asks docker's credential helpers. It is safe for concurrent use.
type helpers struct {
	log      *slog.Logger
	excluded []string      // directories that no helper is run from
	limit    time.Duration // for one reply

	// turn is held by the one who runs a helper: one at a time, as some ask the
	// person.
	turn chan struct{}
	runs shared[helperKey, reply]

	mu      sync.Mutex // guards the rest; nothing else is locked under it
	replies map[helperKey]reply
	forgets uint64          // counts the calls of forget
	warned  map[string]bool // helpers whose trouble was logged, until they work
}

// helperKey is a key that a helper is asked for.
type helperKey struct{ helper, key string }

// reply is what a helper said: a credential, nothing, or why there is none.
type reply struct {
	cred    Credential // zero: it has none
	trouble string     // why there is no reply; "": there is one
	at      time.Time  // when it was asked
}

func newHelpers(log *slog.Logger, excluded []string) *helpers {
	return &helpers{
		log: log, excluded: excluded, limit: helperTimeout, turn: make(chan struct{}, 1),
		replies: map[helperKey]reply{}, warned: map[string]bool{},
	}
}

// forget makes each helper be asked anew.
func (h *helpers) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forgets++
	clear(h.replies)
}

// trouble says why a helper gave no reply; "" if it gave one.
func (h *helpers) trouble(helper, key string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.replies[helperKey{helper, key}].trouble
}

// ask asks a helper for a key, unless its last reply is younger than an age. A helper that
// isn't there, or fails, stands for no credential. The error is that of ctx.
func (h *helpers) ask(ctx context.Context, helper, key string, maxAge time.Duration) (Credential, error) {
	q := helperKey{helper, key}
	if a, ok := h.known(q, maxAge); ok {
		return a.cred, nil
	}
	a, err := h.runs.do(ctx, q, func(ctx context.Context) (reply, error) { return h.run(ctx, q, maxAge) })
	return a.cred, err
}

// known gives the last reply of a helper, if it is younger than an age.
func (h *helpers) known(q helperKey, maxAge time.Duration) (reply, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.replies[q]
	if a.trouble != "" {
		maxAge = min(maxAge, failureAge)
	}
	return a, ok && time.Since(a.at) < maxAge
}

// run gets a reply and remembers it.
func (h *helpers) run(ctx context.Context, q helperKey, maxAge time.Duration) (reply, error) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
	if a, ok := h.known(q, maxAge); ok { // since this was asked for
		return a, nil
	}
	h.mu.Lock()
	forgets := h.forgets
	h.mu.Unlock()
	a := reply{}
	hint := ""
	path, err := lookHelper(q.helper, h.excluded)
	if err != nil {
		hint = "install docker-credential-" + q.helper
	} else {
		a.cred, err = runHelper(ctx, path, q.key, h.limit)
		hint = "see what 'docker-credential-" + q.helper + " get' says"
	}
	if ctx.Err() != nil {
		return reply{}, ctx.Err()
	}
	a.at = time.Now()
	a.cred.Expires = a.at.Add(helperAge)
	if err != nil {
		a.cred, a.trouble = Credential{}, err.Error()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if forgets == h.forgets {
		h.replies[q] = a
	}
	if err == nil {
		delete(h.warned, q.helper)
	} else if !h.warned[q.helper] {
		h.warned[q.helper] = true
		h.log.Warn("credential helper failed: going on without a credential", "helper", q.helper, "key", q.key, "cause", fmt.Sprint(err), "hint", hint)
	}
	return a, nil
}
