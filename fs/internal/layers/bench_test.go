package layers

import (
	"archive/tar"
	"bytes"
	"testing"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// bench is Layers with a registry.
type bench struct {
	t      *testing.T
	s      *registrytest.Server
	layers *Layers
	repo   known.Repository
}

func newBench(t *testing.T, o Options) *bench {
	t.Helper()
	s := registrytest.Start(t, registrytest.Options{})
	store, err := cache.Open(t.TempDir(), cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client := registry.New(registry.Options{PlainHTTP: []string{s.Host}, RetryMaxWait: 1})
	o.Store = store
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	k := known.New(known.Options{Client: client, Store: store})
	t.Cleanup(func() {
		l.Close()
		k.Close()
		client.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &bench{t, s, l, k.Repository(ref.Repository{Host: s.Host, Path: "r"})}
}

// archive makes an archive of one file of a size.
func (b *bench) archive(name string, size int) []byte {
	b.t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(size)}); err != nil {
		b.t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, size)); err != nil {
		b.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.t.Fatal(err)
	}
	return buf.Bytes()
}

// layer pushes an archive of one file of a size, unpacked.
func (b *bench) layer(name string, size int) Layer {
	b.t.Helper()
	a := b.archive(name, size)
	return Layer{Repository: b.repo, Packed: b.s.Blob("r", a), Size: int64(len(a)), Name: "layer " + name}
}
