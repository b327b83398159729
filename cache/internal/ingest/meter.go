package ingest

import (
	"sync"
	"time"
)

// meter adds up how long fetches are under way, and how much of that time they wait for bytes.
// The zero value is ready.
type meter struct {
	mu      sync.Mutex // guards what follows; no other lock is taken under it
	open    int        // fetches whose bodies are open
	waiting int        // fetches whose bodies are open and that wait for bytes
	until   time.Time  // the sums go up to then; zero: nothing was added yet
	sums    times
}

// times are sums over all fetches.
type times struct{ open, waiting time.Duration }

// add changes the number of open bodies, and of those that wait for bytes.
func (m *meter) add(open, waiting int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance()
	m.open += open
	m.waiting += waiting
}

// times gives the sums up to now. A wait that isn't over counts.
func (m *meter) times() times {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.advance()
	return m.sums
}

// advance brings the sums up to now. mu is held.
func (m *meter) advance() {
	now := time.Now()
	passed := now.Sub(m.until)
	if m.until.IsZero() {
		passed = 0
	}
	m.until = now
	m.sums.open += time.Duration(m.open) * passed
	m.sums.waiting += time.Duration(m.waiting) * passed
}
