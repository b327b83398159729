package ingest

import "sync"

// signal wakes those who wait for a change. The zero value is ready.
type signal struct {
	mu sync.Mutex    // guards ch
	ch chan struct{} // closed with the next change; nil: nobody waits
}

// next is closed with the next change. Take it before looking at what may change.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// tell tells of a change.
func (s *signal) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
