package registry

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// within is a client that reads so many bytes of a blob whose size nobody told, and unpacks so many
// whatever their ratio is.
func within(t *testing.T, s *fixture, unsized, unpacked int64) *Client {
	c := newClient(Options{PlainHTTP: []string{s.repo.Host}, Retries: -1},
		bounds{idle: time.Minute, answer: time.Minute, pauses: []time.Duration{}, unsized: unsized, unpacked: unpacked})
	t.Cleanup(c.Close)
	return c
}

// readUnsized reads a blob whose size isn't promised.
func readUnsized(t *testing.T, c *Client, s *fixture, d digest.Digest) (int, error) {
	t.Helper()
	b, err := c.Blob(t.Context(), s.repo, v1.Descriptor{Digest: d, Size: -1})
	if err != nil {
		return 0, err
	}
	defer b.Close()
	got, err := io.ReadAll(b)
	return len(got), err
}

// zeros are so many zeros, packed by gzip.
func zeros(n int) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(make([]byte, n)) // into memory
	w.Close()
	return b.String()
}

// A blob that unpacks to more than a thousand times what was sent is given up where the bound is,
// and isn't asked for again.
//
// Behaviour: blob.bomb
func TestACompressionBombIsGivenUp(t *testing.T) {
	const size = 4 << 20
	s, _ := newFixture(t)
	c := within(t, s, 0, 1<<20)
	d := digest.FromBytes(make([]byte, size))
	s.On("* blob", registrytest.Status(200, zeros(size), "Content-Encoding", "gzip"))
	if n, err := readUnsized(t, c, s, d); !errors.Is(err, ErrTooLarge) || n != 0 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := c.ResolveBlob(t.Context(), s.repo, d); !errors.Is(err, ErrTooLarge) {
		t.Errorf("its size: %v", err)
	}
	if n := s.Count("GET blob"); n != 2 {
		t.Errorf("asked %q", s.Asked())
	}
	// Within the bound it is had.
	if n, err := readUnsized(t, within(t, s, 0, size), s, d); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A layer of zeros, which its registry only labels as compressed, isn't unpacked: its bytes are those
// that are sent.
//
// Behaviour: blob.bomb, blob.coding
func TestALayerOfZerosIsNoBomb(t *testing.T) {
	packed := zeros(4 << 20)
	s, _ := newFixture(t)
	d := s.Blob(s.repo.Path, []byte(packed))
	s.On("* blob", registrytest.With("Content-Encoding", "gzip"), registrytest.Length(-1))
	if n, err := readUnsized(t, within(t, s, 0, 1<<20), s, d); n != len(packed) || err != nil {
		t.Errorf("%d bytes, %v; want %d", n, err, len(packed))
	}
}

// A blob whose size nobody promised has a bound, whatever tells how long it is.
//
// Behaviour: blob.bomb
func TestABlobOfUnknownSizeHasABound(t *testing.T) {
	content := strings.Repeat("0123456789", 100)
	for name, quirks := range map[string][]registrytest.Quirk{
		"its length is told":    nil,
		"no length":             {registrytest.Length(-1)},
		"compressed":            {registrytest.Encode("gzip", true)},
		"compressed, no length": {registrytest.Encode("deflate", false)},
		"labelled":              {registrytest.With("Content-Encoding", "gzip")},
	} {
		s, _ := newFixture(t)
		d := s.Blob(s.repo.Path, []byte(content))
		if len(quirks) > 0 {
			s.On("* blob", quirks...)
		}
		if n, err := readUnsized(t, within(t, s, 999, 0), s, d); !errors.Is(err, ErrTooLarge) || n > 999 {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		if n, err := readUnsized(t, within(t, s, 1000, 0), s, d); n != 1000 || err != nil {
			t.Errorf("%s, within the bound: %d bytes, %v", name, n, err)
		}
		c := within(t, s, 999, 0)
		if b, err := c.Blob(t.Context(), s.repo, v1.Descriptor{Digest: d, Size: 1000}); err != nil {
			t.Errorf("%s, promised: %v", name, err)
		} else if got, err := io.ReadAll(b); string(got) != content || err != nil || b.Close() != nil {
			t.Errorf("%s, promised: %d bytes, %v", name, len(got), err)
		}
	}
}
