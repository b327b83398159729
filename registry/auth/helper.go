package auth

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	helperAge     = 5 * time.Minute // how long what a helper said is believed
	renewAge      = 5 * time.Second // how long, after it was refused
	failureAge    = time.Minute     // how long a helper that failed isn't asked
	helperTimeout = 30 * time.Second
)

// helpers asks docker's credential helpers. It is safe for concurrent use.
type helpers struct {
	log    *slog.Logger
	within []string      // where no helper is run from
	limit  time.Duration // for one answer

	// turn is held by the one who runs a helper: one at a time, as some ask the
	// person.
	turn chan struct{}
	runs shared[inquiry, answer]

	mu      sync.Mutex
	answers map[inquiry]answer
	age     uint64          // counts forget
	told    map[string]bool // helpers whose trouble was told of, until they work
}

// inquiry is what a helper is asked for.
type inquiry struct{ helper, key string }

// answer is what a helper said: a credential, nothing, or why there is none.
type answer struct {
	cred    Credential
	trouble string
	at      time.Time
}

func newHelpers(log *slog.Logger, within []string) *helpers {
	return &helpers{
		log: log, within: within, limit: helperTimeout, turn: make(chan struct{}, 1),
		answers: map[inquiry]answer{}, told: map[string]bool{},
	}
}

// forget makes each helper be asked anew.
func (h *helpers) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.age++
	clear(h.answers)
}

// trouble says why there was no answer; "" where there was.
func (h *helpers) trouble(helper, key string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.answers[inquiry{helper, key}].trouble
}

// ask asks a helper for a key, unless it was asked a moment ago: what it said is
// believed for so long. A helper that isn't there, or fails, stands for no credential.
// The error is that of ctx.
func (h *helpers) ask(ctx context.Context, helper, key string, believed time.Duration) (Credential, error) {
	q := inquiry{helper, key}
	if a, ok := h.known(q, believed); ok {
		return a.cred, nil
	}
	a, err := h.runs.do(ctx, q, func(ctx context.Context) (answer, error) { return h.answer(ctx, q, believed) })
	return a.cred, err
}

// known gives what a helper said, if that is still believed.
func (h *helpers) known(q inquiry, believed time.Duration) (answer, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, ok := h.answers[q]
	if a.trouble != "" {
		believed = min(believed, failureAge)
	}
	return a, ok && time.Since(a.at) < believed
}

// answer gets an answer and remembers it.
func (h *helpers) answer(ctx context.Context, q inquiry, believed time.Duration) (answer, error) {
	select {
	case h.turn <- struct{}{}:
		defer func() { <-h.turn }()
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
	if a, ok := h.known(q, believed); ok { // since this was asked for
		return a, nil
	}
	h.mu.Lock()
	age := h.age
	h.mu.Unlock()
	a := answer{}
	hint := ""
	path, err := lookHelper(q.helper, h.within)
	if err != nil {
		hint = "install docker-credential-" + q.helper
	} else {
		a.cred, err = runHelper(ctx, path, q.key, h.limit)
		hint = "see what 'docker-credential-" + q.helper + " get' says"
	}
	if ctx.Err() != nil {
		return answer{}, ctx.Err()
	}
	a.at = time.Now()
	a.cred.Until = a.at.Add(helperAge)
	if err != nil {
		a.cred, a.trouble = Credential{}, err.Error()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if age == h.age {
		h.answers[q] = a
	}
	if err == nil {
		delete(h.told, q.helper)
	} else if !h.told[q.helper] {
		h.told[q.helper] = true
		h.log.Warn("credential helper failed: going on without a credential", "helper", q.helper, "key", q.key, "cause", fmt.Sprint(err), "hint", hint)
	}
	return a, nil
}
