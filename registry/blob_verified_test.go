package registry

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// A blob whose size nobody knows is read, and its digest verifies it.
func TestABlobWithoutASizeIsVerified(t *testing.T) {
	s, c := newFixture(t)
	read := func(d digest.Digest) (string, error) {
		r, err := c.Blob(t.Context(), s.repo, v1.Descriptor{Digest: d, Size: -1})
		if err != nil {
			return "", err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		return string(b), err
	}
	for _, content := range []string{"", blob} {
		d := s.Blob(s.repo.Path, []byte(content))
		if got, err := read(d); got != content || err != nil {
			t.Errorf("%q: %q, %v", content, got, err)
		}
		unsized := s.On("GET blob", registrytest.Length(-1))
		if got, err := read(d); got != content || err != nil {
			t.Errorf("%q, in chunks: %q, %v", content, got, err)
		}
		unsized.End()
	}
	s.On("GET blob", registrytest.Corrupt(2))
	if _, err := read(digest.FromString(blob)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a flipped byte: %v", err)
	}
}

// A descriptor with a digest and nothing else has the size of an empty blob. The error says so, and
// what is meant instead.
//
// Behaviour: blob.size
func TestASizeThatWasForgottenIsNamed(t *testing.T) {
	for _, length := range []int64{int64(len(blob)), -1} {
		s, c := newFixture(t)
		d := s.Blob(s.repo.Path, []byte(blob))
		s.On("GET blob", registrytest.Length(length))
		r, err := c.Blob(t.Context(), s.repo, v1.Descriptor{Digest: d})
		if err == nil {
			_, err = io.ReadAll(r)
			r.Close()
		}
		if want := "a Size of 0 was given (one that isn't known is -1)"; !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// Whoever reads a blob is told how far it came, up to its size and no further.
func TestReadingTellsItsProgress(t *testing.T) {
	s, c := newFixture(t)
	d := s.Blob(s.repo.Path, []byte(blob))
	var told []int64
	r, err := c.Blob(t.Context(), s.repo, v1.Descriptor{Digest: d, Size: int64(len(blob))}, func(total int64) { told = append(told, total) })
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	if len(told) == 0 || told[len(told)-1] != int64(len(blob)) || !slices.IsSorted(told) {
		t.Errorf("told %d of %d bytes", told, len(blob))
	}
}
