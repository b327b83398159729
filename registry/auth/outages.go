package auth

import (
	"fmt"
	"maps"
	"sync"
	"time"
)

// outages remembers the token endpoints that didn't answer. An endpoint that took long to
// fail isn't asked again for as long as that took: whoever lists a hundred private
// repositories waits for one of them. One that refuses the connection at once costs nothing.
type outages struct {
	mu     sync.Mutex        // guards byHost; nothing else is locked under it
	byHost map[string]outage // by host and port of the endpoint
}

type outage struct {
	err   error
	until time.Time // when the endpoint is asked again
}

// slow is how long a failure takes that is remembered, and longest for how long it is
// remembered: as of registries.
const (
	slow    = time.Second
	longest = 30 * time.Second
)

// failed notes what kept an endpoint from answering, after so long a time.
func (o *outages) failed(host string, err error, took time.Duration) {
	if took < slow {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(o.byHost, func(_ string, out outage) bool { return now.After(out.until) })
	if o.byHost == nil {
		o.byHost = map[string]outage{}
	}
	o.byHost[host] = outage{err, now.Add(min(took, longest))}
}

// answered ends the outage of an endpoint.
func (o *outages) answered(host string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byHost, host)
}

// of gives the failure of an endpoint that isn't asked again yet; nil: it is asked.
func (o *outages) of(host string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if out, ok := o.byHost[host]; ok && time.Now().Before(out.until) {
		return fmt.Errorf("not asked again so soon: %w", out.err)
	}
	return nil
}
