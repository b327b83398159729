package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/internal/transport"
)

// health is how a server is doing. It is safe for concurrent use.
type health struct {
	mu    sync.Mutex
	err   error     // of the last attempt; nil: it answered
	since time.Time // of the first of the attempts that failed on end
	at    time.Time // of the last one
	until time.Time // when it is tried again
}

// A server that doesn't answer is left alone for as long as it took to see that, within
// these bounds: whoever lists many names waits for one of them. One that refuses at once
// is left alone for a moment, and then asked without a second try: whoever has just
// started it again doesn't want to wait. A mirror is passed over for skipFor in any
// case, as there is another.
const (
	moment      = 20 * time.Millisecond
	downAtLeast = time.Second
	downAtMost  = 30 * time.Second
	skipFor     = 5 * time.Second
)

// down gives the error of a server that was found to be out of reach moments ago, and
// isn't asked again yet.
func (h *health) down() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil && time.Now().Before(h.until) {
		return h.err
	}
	return nil
}

// spared gives the error of a server that couldn't be reached lately, and isn't asked
// where there is another.
func (h *health) spared() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil && (time.Now().Before(h.until) || time.Since(h.at) < skipFor) {
		return h.err
	}
	return nil
}

// failing says whether the last attempt to reach the server failed.
func (h *health) failing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err != nil
}

// answered notes that the server is there.
func (h *health) answered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = nil
}

// failed notes that the server couldn't be reached, which took so long to see.
func (h *health) failed(err error, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.err == nil {
		h.since = now
	}
	h.err, h.at, h.until = err, now, now.Add(moment)
	if took >= downAtLeast || kindOfFailure(err) == ErrTimeout {
		h.until = now.Add(min(max(took, downAtLeast), downAtMost))
	}
}

// note takes note of how the server of a call is doing. What failed elsewhere, where
// it led, says nothing of it, and neither does a token endpoint of another host.
func (k call) note(ctx context.Context, err error, took time.Duration) {
	if err == nil {
		k.at.health.answered()
		return
	}
	var elsewhere *transport.Elsewhere
	var token *auth.TokenError
	if ctx.Err() != nil || errors.As(err, &elsewhere) || errors.As(err, &token) && token.Endpoint.Host != k.at.Base.Host {
		return
	}
	if kind := kindOfFailure(err); kind == ErrUnreachable || kind == ErrTimeout {
		k.at.health.failed(err, took)
	}
}
