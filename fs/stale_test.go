package fs

import (
	"slices"
	"testing"

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
