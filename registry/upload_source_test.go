package registry

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// Bytes are pushed from memory, from a file, and from a reader, which is read once however often
// the push begins anew. No temporary file stays.
func TestABlobIsPushedFromWhereverItIs(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	file := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(file, []byte(blob), 0o600); err != nil {
		t.Fatal(err)
	}
	opened := 0
	reader := func(context.Context) (io.ReadCloser, error) {
		opened++
		return io.NopCloser(strings.NewReader(blob)), nil
	}
	desc := v1.Descriptor{Digest: digest.FromString(blob), Size: int64(len(blob))}
	for name, open := range map[string]Opener{"bytes": FromBytes([]byte(blob)), "a file": FromFile(file), "a reader": FromReader(reader, desc.Size)} {
		t.Run(name, func(t *testing.T) {
			s, c := newFixture(t)
			s.Nth(1, "PUT upload", registrytest.Lost())
			if _, err := c.PushBlob(t.Context(), s.repo, desc, open, Push{}); err != nil {
				t.Fatal(err)
			}
			s.has(blob)
		})
	}
	if opened != 1 {
		t.Errorf("the reader was opened %d times", opened)
	}
	if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
		t.Errorf("%v is left, %v", left, err)
	}
}

// A reader whose digest nobody knows yet has one once it is spooled; more than its limit is
// refused.
func TestAReaderIsSpooledWithinItsLimit(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	s, c := newFixture(t)
	copied, err := Spool(t.Context(), strings.NewReader(blob), int64(len(blob)))
	if err != nil {
		t.Fatal(err)
	}
	if want := digest.FromString(blob); copied.Descriptor.Digest != want || copied.Descriptor.Size != int64(len(blob)) {
		t.Errorf("it is %+v", copied.Descriptor)
	}
	for _, repo := range []string{"a/b", "a/c"} { // as often as needed
		s.repo.Path = repo
		if _, err := c.PushBlob(t.Context(), s.repo, copied.Descriptor, copied.Open, Push{}); err != nil {
			t.Error(err)
		}
		s.has(blob)
	}
	if err := copied.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Spool(t.Context(), strings.NewReader(blob), int64(len(blob))-1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than the limit: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Spool(ctx, strings.NewReader(blob), 100); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if left, err := os.ReadDir(dir); len(left) != 0 || err != nil {
		t.Errorf("%v is left, %v", left, err)
	}
}
