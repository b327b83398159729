package layers

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
)

// atOnce is how many layers are unpacked at once. Each takes a processor, and memory: for its index
// while that is made, some 100 bytes an entry, and for a window of zstd.
var atOnce = max(4, runtime.NumCPU())

// turns bounds how many layers are unpacked at once.
type turns struct {
	places chan struct{} // has one element for each layer that is unpacked now

	mu      sync.Mutex // guards the fields below
	waiting int        // layers whose turn hasn't come
	taken   map[digest.Digest]bool
}

func newTurns(n int) *turns {
	return &turns{places: make(chan struct{}, n), taken: map[digest.Digest]bool{}}
}

// take waits for the turn of a layer.
func (t *turns) take(ctx context.Context, packed digest.Digest) (give func(), err error) {
	t.wait(1)
	defer t.wait(-1)
	select {
	case t.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t.mark(packed, true)
	return func() {
		t.mark(packed, false)
		<-t.places
	}, nil
}

func (t *turns) wait(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting += n
}

func (t *turns) mark(packed digest.Digest, taken bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if taken {
		t.taken[packed] = true
	} else {
		delete(t.taken, packed)
	}
}

// waitedFor gives the layers that others wait for; nil: none waits.
func (t *turns) waitedFor() []digest.Digest {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == 0 {
		return nil
	}
	return slices.Collect(maps.Keys(t.taken))
}
