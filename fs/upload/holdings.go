package upload

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// hasFor is how long it is believed that the registry has what was pushed.
	hasFor = time.Hour
	// maxHeld bounds the digests of one repository that are remembered as pushed: twice the
	// pieces of the largest image.
	maxHeld = 2 * maxPieces
)

// holdings is what was pushed to a repository lately: the registry has it, and isn't asked. It
// is safe for concurrent use.
type holdings struct {
	now func() time.Time // Options.Now

	mu    sync.Mutex                  // guards until; no other lock is taken under it
	until map[digest.Digest]time.Time // when the belief in a digest ends; at most maxHeld
}

// has says whether the registry has d, as far as is remembered.
func (h *holdings) has(d digest.Digest) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now().Before(h.until[d])
}

// add notes that the registry has d.
func (h *holdings) add(d digest.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until == nil {
		h.until = map[digest.Digest]time.Time{}
	}
	h.until[d] = h.now().Add(hasFor)
	if len(h.until) > maxHeld {
		h.trim()
	}
}

// remove notes that the registry hasn't got d, or may have lost it.
func (h *holdings) remove(d digest.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.until, d)
}

// trim drops the older half: that those are there is asked once more. mu is held.
func (h *holdings) trim() {
	ds := slices.SortedFunc(maps.Keys(h.until), func(a, b digest.Digest) int { return h.until[a].Compare(h.until[b]) })
	for _, d := range ds[:len(ds)/2] {
		delete(h.until, d)
	}
}
