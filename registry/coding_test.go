package registry

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/registry/registrytest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A proxy that compresses in spite of identity changes nothing of what manifests, lists and
// errors say.
//
// Behaviour: transport.coding
func TestWhatIsCompressedOnTheWayIsReadAsItWasMeant(t *testing.T) {
	for _, coding := range []string{"gzip", "x-gzip", "deflate"} {
		for _, length := range []bool{true, false} {
			s, c := newFixture(t)
			s.Change(func(tr *registrytest.Traits) { tr.Referrers = true })
			d := s.Image(s.repo.Path, "v1", []byte(layer))
			s.On("GET *", registrytest.Encode(coding, length))
			for _, reference := range []string{"v1", d.String()} {
				m, err := c.Manifest(t.Context(), s.repo, reference)
				if err != nil || m.Digest != d || string(m.Raw) != s.at("v1") {
					t.Errorf("%s %s: %v", coding, reference, err)
				}
			}
			var names []string
			for p, err := range c.TagPages(t.Context(), s.repo) {
				if err != nil {
					t.Errorf("%s: %v", coding, err)
				}
				names = append(names, p.Tags...)
			}
			if !slices.Equal(names, []string{"v1"}) {
				t.Errorf("%s: tags %q", coding, names)
			}
			if rs, err := c.Referrers(t.Context(), s.repo, d, ""); len(rs.Descriptors) != 0 || err != nil {
				t.Errorf("%s: referrers %v, %v", coding, rs.Descriptors, err)
			}
			var e *Error
			if _, err := c.Manifest(t.Context(), s.repo, "none"); !errors.As(err, &e) || !e.has("MANIFEST_UNKNOWN") {
				t.Errorf("%s: an error is %v", coding, err)
			}
		}
	}
}

// A Content-Length of HEAD is of the compressed body, and so no size of a manifest.
//
// Behaviour: transport.coding, manifest.head
func TestALengthOfACompressedManifestIsNoSize(t *testing.T) {
	s, c := newFixture(t)
	d := s.Image(s.repo.Path, "v1", []byte(layer))
	s.On("HEAD manifest", registrytest.With("Content-Encoding", "gzip"), registrytest.Length(7))
	if got, err := c.ResolveManifest(t.Context(), s.repo, "v1"); got.Digest != d || got.Size != -1 || err != nil {
		t.Errorf("%+v, %v", got.Descriptor, err)
	}
}

// A blob that is compressed on the way is decoded, whether its size is known or not. What goes on
// after it broke off is decoded from the start. What was only labelled comes as it is.
//
// Behaviour: blob.coding
func TestABlobThatIsCompressedOnTheWayIsDecoded(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	for name, c := range map[string]struct {
		always, once registrytest.Quirk // once: of the first answer
	}{
		"gzip":                      {registrytest.Encode("gzip", true), nil},
		"gzip, no length":           {registrytest.Encode("gzip", false), nil},
		"deflate, no length":        {registrytest.Encode("deflate", false), nil},
		"gzip, it breaks off":       {registrytest.Encode("gzip", true), registrytest.Cut(20)},
		"only labelled":             {registrytest.With("Content-Encoding", "gzip"), nil},
		"only labelled, no length":  {registrytest.With("Content-Encoding", "x-gzip"), registrytest.Length(-1)},
		"only labelled, breaks off": {registrytest.With("Content-Encoding", "gzip"), registrytest.Cut(20)},
	} {
		for _, size := range []int64{int64(len(content)), -1} {
			t.Run(fmt.Sprint(name, " ", size), func(t *testing.T) {
				s, cl := newFixture(t)
				d := s.Blob(s.repo.Path, []byte(content))
				s.On("GET blob", c.always)
				if c.once != nil {
					s.First(1, "GET blob", c.once)
				}
				b, err := cl.BlobRange(t.Context(), s.repo, v1.Descriptor{Digest: d, Size: size}, 0, -1)
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				if got, err := io.ReadAll(b); string(got) != content || err != nil {
					t.Errorf("%d bytes, %v; asked %q", len(got), err, s.Asked())
				}
			})
		}
	}
}

// A layer is compressed itself: it is the bytes that have the digest that come, be they labelled
// or compressed once more.
//
// Behaviour: blob.coding
func TestALayerKeepsItsOwnCompression(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	fmt.Fprint(w, strings.Repeat("a tar", 1000))
	w.Close()
	packed := b.String()
	for name, quirk := range map[string]registrytest.Quirk{
		"labelled":   registrytest.With("Content-Encoding", "gzip"),
		"once more":  registrytest.Encode("gzip", true),
		"no length":  registrytest.Encode("gzip", false),
		"by deflate": registrytest.Encode("deflate", true),
	} {
		s, c := newFixture(t)
		d := s.Blob(s.repo.Path, []byte(packed))
		s.On("* blob", quirk)
		if got, err := readBlob(c, s.repo, packed); got != packed || err != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		is, err := c.ResolveBlob(t.Context(), s.repo, d)
		if is.Size != int64(len(packed)) || err != nil {
			t.Errorf("%s: its size is %d, want %d; %v", name, is.Size, len(packed), err)
		}
		body, err := c.BlobRange(t.Context(), s.repo, v1.Descriptor{Digest: d, Size: -1}, 0, -1)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := io.ReadAll(body); string(got) != packed || err != nil {
			t.Errorf("%s, of unknown size: %d bytes, %v", name, len(got), err)
		}
		body.Close()
	}
}

// A part of a blob whose registry compresses parts too can't be had alone: all of it is read for
// a range, and who wants several parts at once is told.
//
// Behaviour: blob.coding
func TestAPartOfACompressedBlobIsNotHadAlone(t *testing.T) {
	for name, quirk := range map[string]registrytest.Quirk{
		"it sends all of it": registrytest.IgnoreRange(),
		"it compresses the part": registrytest.Change(func(a *registrytest.Answer) {
			if a.Status == http.StatusPartialContent {
				a.Header.Set("Content-Encoding", "gzip")
				a.Body, a.Length = []byte("compressed"), -1
			}
		}),
	} {
		s, c := newFixture(t)
		d := s.Blob(s.repo.Path, []byte(layer))
		s.On("GET blob", registrytest.Encode("gzip", true), quirk)
		desc := v1.Descriptor{Digest: d, Size: int64(len(layer))}
		if b, err := c.BlobPart(t.Context(), s.repo, desc, 4, 5); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: a part is %v, %v", name, b, err)
		}
		b, err := c.BlobRange(t.Context(), s.repo, desc, 4, 5)
		if err != nil {
			t.Fatal(name, err)
		}
		if got, err := io.ReadAll(b); string(got) != layer[4:9] || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		b.Close()
	}
}

// What unpacks to more than the blob has ends there.
//
// Behaviour: blob.coding, blob.size
func TestACompressedBlobIsNeverLongerThanPromised(t *testing.T) {
	s, c := newFixture(t)
	d := s.Blob(s.repo.Path, []byte(layer))
	s.On("GET blob", registrytest.Encode("gzip", false), registrytest.Body(strings.Repeat("x", 1<<20)))
	b, err := c.BlobRange(t.Context(), s.repo, v1.Descriptor{Digest: d, Size: int64(len(layer))}, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, err := io.ReadAll(b); !errors.Is(err, ErrCorrupt) || len(got) > len(layer) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
