package fs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
)

// The kernel keeps pages of a cached blob from one open to the next, but not those that
// weren't verified, nor those of a cache file that another has taken the place of.
func TestPagesAreKeptOfTheSameVerifiedFileAlone(t *testing.T) {
	dir := t.TempDir()
	store, err := cache.Open(dir, cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	b := []byte("a blob")
	d := digest.FromBytes(b)
	if err := store.Put(d, b); err != nil {
		t.Fatal(err)
	}
	n := &fileNode{}
	keeps := func(what string, c content, want bool) {
		t.Helper()
		if got := n.keepPages(c); got != want {
			t.Errorf("%s: %t", what, got)
		}
	}
	opened := func() content {
		t.Helper()
		f, err := store.Open(d, int64(len(b)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return &blobContent{file: f}
	}
	keeps("bytes at hand", &snapshot{}, true)
	keeps("the first open", opened(), true)
	keeps("the same file", opened(), true)
	keeps("not cached", &blobContent{}, true)
	keeps("the same file", opened(), true)
	keeps("as it comes", &blobContent{stream: store.Stream(cache.Want{})}, true)
	keeps("verified since", opened(), false)
	keeps("the same file", opened(), true)

	name := filepath.Join(dir, "v1/blobs/sha256", d.Encoded()[:2], d.Encoded())
	if err := os.Rename(name, filepath.Join(dir, "v1/aside")); err != nil {
		t.Fatal(err)
	}
	if err := store.Put(d, b); err != nil {
		t.Fatal(err)
	}
	keeps("another file", opened(), false)
	keeps("the same file", opened(), true)
}
