package fs

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
)

// Bounds of the manifests in memory: bytes of them all, and what one costs beside
// its bytes. Most have two kilobytes, so these are some thousands.
const (
	maxManifestBytes = 8 << 20
	manifestCost     = 1 << 10
)

// manifests is the decoded manifests that were used last. It is bounded in bytes,
// as a manifest may have eight million of them. It is safe for concurrent use.
type manifests struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[digest.Digest, *registry.Manifest]
	bytes int
}

func newManifests() *manifests {
	l, err := simplelru.NewLRU[digest.Digest, *registry.Manifest](math.MaxInt, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &manifests{lru: l}
}

func cost(m *registry.Manifest) int { return len(m.Raw) + manifestCost }

// get gives a manifest, or nil.
func (ms *manifests) get(d digest.Digest) *registry.Manifest {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m, _ := ms.lru.Get(d)
	return m
}

// add keeps m, and drops what was used longest ago. The last one stays, however
// large it is.
func (ms *manifests) add(m *registry.Manifest) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if old, ok := ms.lru.Peek(m.Digest); ok {
		ms.bytes -= cost(old)
	}
	ms.lru.Add(m.Digest, m)
	for ms.bytes += cost(m); ms.bytes > maxManifestBytes && ms.lru.Len() > 1; {
		_, old, _ := ms.lru.RemoveOldest()
		ms.bytes -= cost(old)
	}
}
