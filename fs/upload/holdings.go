package upload

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// hasFor is how long the registry is believed to have what was pushed.
	hasFor = time.Hour
	// maxHeld is how many pushed digests of one repository are remembered at most: twice the
	// pieces of the largest image.
	maxHeld = 2 * maxPieces
)

// holdings are the digests that were pushed to a repository lately. The registry has them, and
// isn't asked. It is safe for concurrent use.
type holdings struct {
	now func() time.Time // Options.Now

	mu    sync.Mutex                  // guards until; no other lock is taken under it
	until map[digest.Digest]time.Time // when the belief in a digest ends; at most maxHeld
}

// has says whether the registry is believed to have d.
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

// remove notes that the registry lacks d, or may have lost it.
func (h *holdings) remove(d digest.Digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.until, d)
}

// trim drops the older half. The registry is asked for those again. mu is held.
func (h *holdings) trim() {
	ds := slices.SortedFunc(maps.Keys(h.until), func(a, b digest.Digest) int { return h.until[a].Compare(h.until[b]) })
	for _, d := range ds[:len(ds)/2] {
		delete(h.until, d)
	}
}
