package layers

import (
	"context"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
)

// ErrStalled is the error of a wait for a layer of which nothing has come for too long.
var ErrStalled = fmt.Errorf("nothing of the layer has come for a minute: %w", registry.ErrTimeout)

// A wait for a layer ends when nothing has come of it for stalledAfter. A download that is dropped
// within that time, and goes on by another request, doesn't end it. lookEvery is how often it is
// looked whether something has come: seldom enough to cost nothing.
const (
	stalledAfter = time.Minute
	lookEvery    = time.Second
)

// patiently calls do with a context that ends when nothing of some blobs moves any more.
func (s *Layers) patiently(ctx context.Context, blobs []digest.Digest, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		tick := time.NewTicker(s.lookEvery)
		defer tick.Stop()
		last, since := s.progress(blobs), time.Now()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			now := s.progress(blobs)
			if now != last {
				last, since = now, time.Now()
			}
			if time.Since(since) >= s.stalledAfter {
				cancel(ErrStalled)
				return
			}
		}
	}()
	err := do(ctx)
	if err != nil && context.Cause(ctx) == ErrStalled {
		return ErrStalled
	}
	return err
}

// progress is how many bytes of some blobs have come, were made, or were hashed again. While layers
// wait for their turn, those that they wait for count too.
func (s *Layers) progress(blobs []digest.Digest) (n int64) {
	for _, d := range append(s.turns.waitedFor(), blobs...) {
		n += s.o.Store.Progress(d)
	}
	return n
}
