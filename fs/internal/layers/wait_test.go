package layers

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// hurried makes waits short.
func (b *bench) hurried() {
	b.layers.stalledAfter, b.layers.lookEvery = 200*time.Millisecond, 10*time.Millisecond
}

// A wait for a layer ends when nothing of it comes, and says which layer that is. The next one gets
// it when it comes.
func TestAWaitEndsWhenNothingComes(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.hurried()
	l := b.layer("a", 100)
	release := make(chan struct{})
	b.s.On("GET blob", registrytest.Hold(release))
	_, err := b.layers.Index(t.Context(), l)
	if !errors.Is(err, ErrStalled) || !errors.Is(err, registry.ErrTimeout) || !strings.Contains(err.Error(), l.Name) {
		t.Errorf("the wait ends with %v", err)
	}
	close(release)
	if _, err := b.layers.Index(t.Context(), l); err != nil {
		t.Error(err)
	}
}

// A wait for a layer lasts as long as something of it comes, however little.
func TestAWaitLastsWhileSomethingComes(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.hurried()
	l := b.layer("a", 100)
	b.s.On("GET blob", registrytest.Trickle(time.Millisecond))
	began := time.Now()
	if _, err := b.layers.Index(t.Context(), l); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < b.layers.stalledAfter {
		t.Errorf("it took %v: nothing was shown", took)
	}
}

// A layer whose turn hasn't come waits as long as others are unpacked.
func TestAWaitForOnesTurnIsNoStall(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	b.hurried()
	b.layers.stalledAfter = time.Second // a busy machine may do nothing for a part of it
	b.layers.turns = newTurns(1)
	b.s.On("GET blob", registrytest.Trickle(time.Millisecond))
	var all sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		l := b.layer(name, 30)
		all.Go(func() {
			if _, err := b.layers.Index(t.Context(), l); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// An interrupted caller leaves at once, and the next one gets the layer.
func TestAnInterruptedWaitLeavesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	l := b.layer("a", 100)
	release := make(chan struct{})
	b.s.On("GET blob", registrytest.Hold(release))
	ctx, interrupt := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, interrupt)
	if _, err := b.layers.Index(ctx, l); !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ends with %v", err)
	}
	close(release)
	if _, err := b.layers.Index(t.Context(), l); err != nil {
		t.Error(err)
	}
}

// A diff ID may be of another algorithm than the cache's.
func TestADiffIDOfAnotherAlgorithmCounts(t *testing.T) {
	t.Parallel()
	b := newBench(t, Options{})
	l := b.layer("a", 100)
	for _, c := range []struct {
		id   digest.Digest
		want error
	}{
		{digest.SHA512.FromBytes(b.archive("a", 100)), nil},
		{digest.SHA512.FromString("another"), ErrDiffID},
		{"md5:0123", ErrDiffID},
	} {
		l.DiffID = c.id
		for range 2 {
			if _, err := b.layers.Index(t.Context(), l); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.id, err, c.want)
			}
		}
	}
	if n := b.s.Count("GET blob"); n != 1 {
		t.Errorf("%d downloads", n)
	}
}
