package fs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// An open blob tells whose pages the kernel has: those of one cache file are not those of
// another that took its place, nor those that weren't verified.
func TestABlobTellsItsPages(t *testing.T) {
	dir := t.TempDir()
	store, err := cache.Open(dir, cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	b := []byte("a blob")
	d := digest.FromBytes(b)
	client := registry.New(registry.Options{})
	defer client.Close()
	tree := &Tree{store: store, kernel: node.New(node.Options{}), known: known.New(known.Options{Client: client, Store: store})}
	repo := tree.repository(ref.Repository{Host: "r.example", Path: "team/app"})
	pages := func() uint64 {
		t.Helper()
		blob := &blobFile{place: place{tree: tree}, repo: repo, digest: d, size: int64(len(b))}
		c, err := blob.Open(t.Context(), caller.Caller{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Way().Pages
	}
	if got := pages(); got != 0 {
		t.Errorf("one that isn't cached has %d", got)
	}
	tree.opts.Stream = true
	if got := pages(); got != node.UnverifiedPages {
		t.Errorf("one that is read as it comes has %d", got)
	}
	if err := store.Put(d, b); err != nil {
		t.Fatal(err)
	}
	first := pages()
	if first == 0 || first == node.UnverifiedPages || pages() != first {
		t.Errorf("a cached one has %d, then %d", first, pages())
	}
	// The end of the store waits until the blob has its place, so that nothing of it is elsewhere.
	store.Close()
	if err := os.Rename(filepath.Join(dir, "v1/blobs/sha256", d.Encoded()[:2], d.Encoded()), filepath.Join(dir, "v1/aside")); err != nil {
		t.Fatal(err)
	}
	if tree.store, err = cache.Open(dir, cache.Options{}); err != nil {
		t.Fatal(err)
	}
	defer tree.store.Close()
	if err := tree.store.Put(d, b); err != nil {
		t.Fatal(err)
	}
	if got := pages(); got == first {
		t.Error("another cache file has the pages of the first")
	}
}
