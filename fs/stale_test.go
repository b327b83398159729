package fs

import (
	"slices"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// A repository is known to the kernel under every path that leads to it.
func TestSpellings(t *testing.T) {
	for _, c := range []struct {
		host, path string
		want       []string
	}{
		{"ghcr.io", "org/app", []string{"org/app"}},
		{"ghcr.io", "library/alpine", []string{"library/alpine"}},
		{"docker.io", "alpine", []string{"library/alpine", "alpine"}},
		{"docker.io", "library/alpine", []string{"library/alpine", "alpine"}},
		{"docker.io", "library/a/b", []string{"library/a/b"}},
	} {
		r, err := ref.NewRepository(c.host, c.path)
		if err != nil {
			t.Fatal(err)
		}
		if got := spellings(r); !slices.Equal(got, c.want) {
			t.Errorf("%s is spelled %q, want %q", r, got, c.want)
		}
	}
}

// The kernel is told at the paths that it knows, whichever part of the tree is mounted and
// however its root was spelled.
func TestAPartOfTheTreeIsTold(t *testing.T) {
	for _, c := range []struct {
		host, path string // the root
		repo       string
		want       string // where the repository is; "-": nowhere
	}{
		{"docker.io", "", "library/alpine", "alpine library/alpine"},
		{"docker.io", "bitnami", "bitnami/nginx", "nginx"},
		{"docker.io", "library", "library/alpine", "alpine"},
		{"docker.io", "alpine", "library/alpine", ""},
		{"docker.io", "library/alpine", "library/alpine", ""},
		{"docker.io", "bitnami/nginx", "bitnami/nginx", ""},
		{"ghcr.io", "org", "org/tags/app", "_tags/app"},
		{"ghcr.io", "org", "organic/app", "-"},
	} {
		client := registry.New(registry.Options{})
		store, err := cache.Open(t.TempDir(), cache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		tree, err := New(Options{Host: c.host, Path: c.path, Client: client, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		dirs := tree.shownAt(ref.Repository{Host: c.host, Path: c.repo})
		slices.Sort(dirs)
		got := strings.Join(dirs, " ")
		if len(dirs) == 0 {
			got = "-"
		}
		if got != c.want {
			t.Errorf("below %s/%s, %s is shown at %q, want %q", c.host, c.path, c.repo, got, c.want)
		}
		if c.want != "-" {
			below := strings.Fields(c.want + " .")[0]
			if at := tree.pathOf(c.host, c.repo, "tags"); !strings.HasSuffix(at, "tags") || below != "." && !strings.Contains(c.want, strings.TrimSuffix(at, "/tags")) {
				t.Errorf("below %s/%s, the tags of %s are at %q", c.host, c.path, c.repo, at)
			}
		}
		if err := tree.Close(t.Context()); err != nil {
			t.Error(err)
		}
		store.Close()
		client.Close()
	}
}
