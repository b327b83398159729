package layers

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// A job that has downloaded too much is refused a layer. Who wants the layer at the same time, and
// has downloaded nothing, gets it.
func TestARefusalIsThatOfOneJob(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	store, err := cache.Open(t.TempDir(), cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	client := registry.New(registry.Options{PlainHTTP: []string{s.Host}, RetryMaxWait: 1})
	defer client.Close()
	g, err := guard.New(1)
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(Options{Store: store, Guard: g})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := known.New(known.Options{Client: client, Store: store}).Repository(ref.Repository{Host: s.Host, Path: "r"})

	overdrawn := guard.WithPayer(t.Context(), guard.PayerOf(caller.Caller{Thread: uint32(os.Getpid()), Program: true}))
	layer := func(n byte) Layer {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: string('a' + rune(n)), Typeflag: tar.TypeReg}), w.Close()); err != nil {
			t.Fatal(err)
		}
		return Layer{Repository: r, Packed: s.Blob("r", b.Bytes()), Size: int64(b.Len()), Name: "a layer"}
	}
	if _, err := l.Index(overdrawn, layer(0)); err != nil {
		t.Fatal(err)
	}
	for n := range byte(20) {
		refused := layer(n + 1)
		var both sync.WaitGroup
		for ctx, want := range map[context.Context]error{overdrawn: guard.ErrOverdrawn, t.Context(): nil} {
			both.Go(func() {
				if _, err := l.Index(ctx, refused); err != nil && !errors.Is(err, want) {
					t.Errorf("layer %d: %v, want %v", n, err, want)
				}
			})
		}
		both.Wait()
	}
}
