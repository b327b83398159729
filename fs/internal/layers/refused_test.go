package layers

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/guard"
)

// A job that has downloaded too much is refused a layer. Who wants the layer at the same time, and
// has downloaded nothing, gets it.
func TestARefusalIsThatOfOneJob(t *testing.T) {
	g, err := guard.New(1)
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, Options{Guard: g})
	overdrawn := guard.WithPayer(t.Context(), guard.PayerOf(caller.Caller{Thread: uint32(os.Getpid()), Program: true}))
	layer := func(n byte) Layer { return b.layer(string('a'+rune(n)), 0) }
	if _, err := b.layers.Index(overdrawn, layer(0)); err != nil {
		t.Fatal(err)
	}
	for n := range byte(20) {
		refused := layer(n + 1)
		var both sync.WaitGroup
		for ctx, want := range map[context.Context]error{overdrawn: guard.ErrOverdrawn, t.Context(): nil} {
			both.Go(func() {
				if _, err := b.layers.Index(ctx, refused); err != nil && !errors.Is(err, want) {
					t.Errorf("layer %d: %v, want %v", n, err, want)
				}
			})
		}
		both.Wait()
	}
}
