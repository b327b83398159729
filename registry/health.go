package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ocifs/ocifs/registry/internal/transport"
)

// health is how a server is doing. It is safe for concurrent use.
type health struct {
	mu    sync.Mutex
	err   error // of the last attempt; nil: it answered
	since time.Time
	until time.Time // when it is tried again
}

// A server that couldn't be reached is left alone for as long as it took to find
// out, within these bounds: whoever lists many names waits for one of them, and
// whoever has just started it again doesn't wait.
const (
	downAtLeast = time.Second
	downAtMost  = 30 * time.Second
)

// down gives the error of a server that was found to be out of reach moments ago.
func (h *health) down() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil && time.Now().Before(h.until) {
		return h.err
	}
	return nil
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
	h.err, h.until = err, now.Add(min(max(took, downAtLeast), downAtMost))
}

// note takes note of how the server of a call is doing. What failed elsewhere, where
// it led, says nothing of it.
func (k call) note(ctx context.Context, err error, took time.Duration) {
	if err == nil {
		k.at.health.answered()
		return
	}
	var elsewhere *transport.Elsewhere
	if ctx.Err() != nil || errors.As(err, &elsewhere) {
		return
	}
	if kind := kindOfFailure(err); kind == ErrUnreachable || kind == ErrTimeout {
		k.at.health.failed(err, took)
	}
}
