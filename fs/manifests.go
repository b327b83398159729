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

// bounded is what was used last of things of very different sizes: a manifest, or a
// list of referrers, may have two kilobytes or eight million. It is bounded in bytes,
// and safe for concurrent use.
type bounded[K comparable, V any] struct {
	max  int
	cost func(V) int

	mu    sync.Mutex
	lru   *simplelru.LRU[K, V]
	bytes int
}

func newBounded[K comparable, V any](max int, cost func(V) int) *bounded[K, V] {
	l, err := simplelru.NewLRU[K, V](math.MaxInt, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &bounded[K, V]{max: max, cost: cost, lru: l}
}

// get gives what is kept under k, or the zero value.
func (b *bounded[K, V]) get(k K) V {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, _ := b.lru.Get(k)
	return v
}

// add keeps v, and drops what was used longest ago. The last one stays, however
// large it is.
func (b *bounded[K, V]) add(k K, v V) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.lru.Peek(k); ok {
		b.bytes -= b.cost(old)
	}
	b.lru.Add(k, v)
	for b.bytes += b.cost(v); b.bytes > b.max && b.lru.Len() > 1; {
		_, old, _ := b.lru.RemoveOldest()
		b.bytes -= b.cost(old)
	}
}

// remove drops what is kept under k.
func (b *bounded[K, V]) remove(k K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.lru.Peek(k); ok {
		b.bytes -= b.cost(old)
		b.lru.Remove(k)
	}
}

// manifests is the decoded manifests that were used last.
type manifests struct {
	*bounded[digest.Digest, *registry.Manifest]
}

func newManifests() manifests {
	return manifests{newBounded[digest.Digest](maxManifestBytes, func(m *registry.Manifest) int { return len(m.Raw) + manifestCost })}
}

func (ms manifests) add(m *registry.Manifest) { ms.bounded.add(m.Digest, m) }
