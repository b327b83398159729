package registry

import (
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// A blob is there, or it isn't; a registry that won't say is an error, and never a no.
func TestARepositoryHasABlobOrNot(t *testing.T) {
	s, c := newFixture(t)
	there := s.Blob(s.repo.Path, []byte(blob))
	for d, want := range map[digest.Digest]bool{there: true, digest.FromString("another"): false} {
		if has, err := c.HasBlob(t.Context(), s.repo, d); has != want || err != nil {
			t.Errorf("%s: %t, %v", d, has, err)
		}
	}
	s.want(c, "HEAD blob", "HEAD blob")
	s.On("HEAD blob", registrytest.Status(405, ""))
	for d, want := range map[digest.Digest]bool{there: true, digest.FromString("another"): false} {
		if has, err := c.HasBlob(t.Context(), s.repo, d); has != want || err != nil {
			t.Errorf("by GET: %s: %t, %v", d, has, err)
		}
	}
	for status, want := range map[int]error{401: ErrDenied, 500: ErrServer} {
		s.On("* blob", registrytest.Status(status, ""))
		if has, err := c.HasBlob(t.Context(), s.repo, there); has || !errors.Is(err, want) {
			t.Errorf("%d: %t, %v", status, has, err)
		}
	}
	if has, err := c.HasBlob(t.Context(), s.repo, "v1"); has || err == nil {
		t.Errorf("a tag: %t, %v", has, err)
	}
}
