package known

import (
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
)

// Manifests in memory are bounded by their bytes, and those used last stay.
func TestManifestsInMemoryAreBounded(t *testing.T) {
	ms := New(Options{}).manifests
	of := func(text string, size int) *registry.Manifest {
		return &registry.Manifest{Digest: digest.FromString(text), Raw: make([]byte, size)}
	}
	small := of("small", 1000)
	ms.Add(small.Digest, small)
	for range 3 {
		for _, text := range "abcdefghijkl" {
			m := of(string(text), 1<<20)
			ms.Add(m.Digest, m)
			if ms.bytes > maxManifestBytes {
				t.Fatalf("%d bytes are kept", ms.bytes)
			}
			if ms.Get(small.Digest) != small {
				t.Fatal("what was used last is gone")
			}
		}
	}
	if n := ms.lru.Len(); n != 8 {
		t.Errorf("%d are kept", n)
	}
	huge := of("huge", maxManifestBytes)
	ms.Add(huge.Digest, huge)
	if ms.Get(huge.Digest) != huge || ms.lru.Len() != 1 || ms.bytes != ms.cost(huge) {
		t.Errorf("beside one that is too large %d are kept, %d bytes", ms.lru.Len(), ms.bytes)
	}
}
