package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

const blob = "0123456789"

func TestAManifestIsVerified(t *testing.T) {
	index := `{"schemaVersion":2,"mediaType":"` + v1.MediaTypeImageIndex + `","manifests":[]}`
	other := digest.FromString("other").String()
	for name, c := range map[string]struct {
		body, contentType, header, reference string
		want                                 error
	}{
		"as it is":               {index, v1.MediaTypeImageIndex, "", "v1", nil},
		"parameters":             {index, v1.MediaTypeImageIndex + "; charset=utf-8", "", "v1", nil},
		"octet-stream":           {index, "application/octet-stream", "", "v1", nil},
		"another digest":         {index, v1.MediaTypeImageIndex, "", other, ErrCorrupt},
		"another in the header":  {index, v1.MediaTypeImageIndex, other, "v1", ErrCorrupt},
		"another type":           {index, v1.MediaTypeImageManifest, "", "v1", ErrCorrupt},
		"too large":              {strings.Repeat(" ", MaxManifest) + index, v1.MediaTypeImageIndex, "", "v1", ErrCorrupt},
		"no type at all":         {`{"manifests":null}`, "text/html", "", "v1", nil},
		"an image, called index": {`{"config":{"digest":"` + other + `","size":1}}`, v1.MediaTypeImageIndex, "", "v1", ErrCorrupt},
		"an index, called image": {`{"manifests":[]}`, v1.MediaTypeImageManifest, "", "v1", ErrCorrupt},
		"an empty image":         {`{}`, v1.MediaTypeImageManifest, "", "v1", ErrCorrupt},
		"an error with 200":      {`{"errors":[]}`, v1.MediaTypeImageManifest, "", "v1", ErrCorrupt},
		"malformed header":       {index, v1.MediaTypeImageIndex, "sha256:xyz", "v1", ErrCorrupt},
		"unknown header":         {index, v1.MediaTypeImageIndex, "md5:00", "v1", nil},
		"negative size":          {`{"manifests":[{"digest":"` + other + `","size":-1}]}`, v1.MediaTypeImageIndex, "", "v1", ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			s, cl := newFixture(t)
			header := []string{"Content-Type", c.contentType}
			if c.header != "" {
				header = append(header, "Docker-Content-Digest", c.header)
			}
			s.On("GET manifest", registrytest.Status(200, c.body, header...))
			if _, err := cl.Manifest(context.Background(), s.repo, c.reference); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestABlobIsContinuedWhereItBrokeOff(t *testing.T) {
	for name, quirks := range map[string][]registrytest.Quirk{"by Range": nil, "by the whole": {registrytest.IgnoreRange()}} {
		t.Run(name, func(t *testing.T) {
			s, cl := newFixture(t)
			s.Blob(s.repo.Path, []byte(blob))
			s.On("GET blob", quirks...)
			s.Nth(1, "GET blob", registrytest.Cut(4))
			if got, err := get(cl, s.repo, 10); err != nil || got != blob {
				t.Errorf("got %q, %v", got, err)
			}
			s.want(cl, "GET blob", "GET blob bytes=4-")
		})
	}
}

// Where a registry does Range wrong, the rest comes from the start.
func TestABlobIsContinuedWithoutRange(t *testing.T) {
	for name, quirk := range map[string]registrytest.Quirk{
		"another part":                 registrytest.ShiftRange(1),
		"a part, it doesn't say which": registrytest.Without("Content-Range"),
		"bad request":                  registrytest.Status(http.StatusBadRequest, ""),
		"not implemented":              registrytest.Status(http.StatusNotImplemented, ""),
		"not satisfiable":              registrytest.Status(http.StatusRequestedRangeNotSatisfiable, ""),
	} {
		t.Run(name, func(t *testing.T) {
			s, cl := newFixture(t)
			s.Blob(s.repo.Path, []byte(blob))
			s.Nth(1, "GET blob", registrytest.Cut(4))
			s.Nth(2, "GET blob", quirk)
			if got, err := get(cl, s.repo, 10); err != nil || got != blob {
				t.Errorf("got %q, %v", got, err)
			}
			s.want(cl, "GET blob", "GET blob bytes=4-", "GET blob")
		})
	}
}

// A body without a length that ends with its connection is known by the size that
// was promised not to be all.
func TestABlobThatEndsWithItsConnectionIsContinued(t *testing.T) {
	s, cl := newFixture(t)
	s.Blob(s.repo.Path, []byte(blob))
	s.Nth(1, "GET blob", registrytest.UntilClose(4))
	if got, err := get(cl, s.repo, 10); err != nil || got != blob {
		t.Errorf("got %q, %v", got, err)
	}
	s.want(cl, "GET blob", "GET blob bytes=4-")
}

func get(c *Client, r ref.Repository, size int64) (string, error) {
	b, err := c.Blob(context.Background(), r, v1.Descriptor{Digest: digest.FromString(blob), Size: size})
	if err != nil {
		return "", err
	}
	defer b.Close()
	got, err := io.ReadAll(b)
	return string(got), err
}

func TestABlobOfAnotherSizeIsCorrupt(t *testing.T) {
	s, cl := newFixture(t)
	s.Blob(s.repo.Path, []byte(blob))
	for _, size := range []int64{0, 9, 11} {
		if got, err := get(cl, s.repo, size); !errors.Is(err, ErrCorrupt) || int64(len(got)) > size {
			t.Errorf("size %d: got %q, %v", size, got, err)
		}
	}
}

func TestPagesAreFollowedOnTheirOriginOnly(t *testing.T) {
	for name, c := range map[string]struct {
		link string
		want error
	}{
		"relative": {"?last=x", nil},
		"foreign":  {"http://other.example/v2/a/b/tags/list", ErrServer},
		"circle":   {"?last=x", ErrServer},
	} {
		t.Run(name, func(t *testing.T) {
			s, cl := newFixture(t)
			s.On("GET tags", registrytest.Status(200, `{"tags":null}`))
			link := registrytest.With("Link", fmt.Sprintf(`<%s>; rel="next"`, c.link))
			if s.Nth(1, "GET tags", link); name == "circle" {
				s.On("GET tags", link)
			}
			var last error
			for _, err := range cl.TagPages(context.Background(), s.repo) {
				last = err
			}
			if !errors.Is(last, c.want) {
				t.Errorf("got %v, want %v", last, c.want)
			}
		})
	}
}

// A list that goes on without end is an error soon.
func TestAListWithoutEndIsAnError(t *testing.T) {
	const list = 1 << 20
	for name, page := range map[string]func(n int) string{
		"empty pages":         func(int) string { return `{"tags":[]}` },
		"the same over again": func(int) string { return `{"tags":["a","b"]}` },
		"too much": func(n int) string {
			return fmt.Sprintf(`{"tags":["%d"]%s}`, n, strings.Repeat(" ", list/4))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newFixture(t)
			b := quick()
			b.list = list
			cl := knowing(t, Options{}, b, s.Server)
			n := 0
			s.On("GET tags", registrytest.EndlessPages(), func(*registrytest.Exchange, func() *registrytest.Answer) *registrytest.Answer {
				n++
				return registrytest.Plain(200, page(n))
			})
			var last error
			for _, err := range cl.TagPages(context.Background(), s.repo) {
				last = err
			}
			if !errors.Is(last, ErrServer) || n > 2*maxNoNews {
				t.Errorf("after %d pages: %v", n, last)
			}
		})
	}
}

func TestWhatIsMissingIsNotExist(t *testing.T) {
	s, cl := newFixture(t)
	if _, err := cl.Manifest(context.Background(), s.repo, "v1"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"manifests":[]}`), "")
	f.Add([]byte(`null`), "a/b;")
	f.Add([]byte(`{"blobs":[{"digest":"blake3:0a","size":1}],"subject":null}`), ociArtifact)
	f.Add([]byte(`{"mediaType":"`+orasArtifact+`","artifactType":"a/b"}`), "")
	f.Fuzz(func(t *testing.T, b []byte, contentType string) {
		m, err := ParseManifest(b, contentType, "")
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		for _, d := range slices.Concat(m.Manifests, m.Blobs(), one(m.Subject)) {
			if _, err := ref.ParseDigest(d.Digest.String()); err != nil && !errors.Is(err, ref.ErrAlgorithm) || d.Size < 0 {
				t.Errorf("a descriptor that can't be: %v", d)
			}
		}
	})
}

func FuzzNextLink(f *testing.F) {
	f.Add(`<a>; rel="next"`)
	f.Add(`<;,"`)
	f.Fuzz(func(_ *testing.T, s string) { nextLink([]string{s}) })
}

func FuzzParseContentRange(f *testing.F) {
	f.Add("bytes 0-9/10")
	f.Add("bytes -1-/*")
	f.Fuzz(func(t *testing.T, s string) {
		if start, size, ok := parseContentRange(s); ok && (start < 0 || size >= 0 && size <= start) {
			t.Errorf("%q: %d of %d", s, start, size)
		}
	})
}

func FuzzParseCodes(f *testing.F) {
	f.Add(`{"errors":[{"code":"A","message":"b"}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		if n := len(parseCodes([]byte(s))); n > maxCodes {
			t.Errorf("%d codes", n)
		}
	})
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte(`{"manifests":[{"digest":"sha256:00","size":-1}]}`), v1.MediaTypeImageIndex+"; charset=utf-8")
	f.Add([]byte(`{"mediaType":"`+v1.MediaTypeImageIndex+`","manifests":null}`), "")
	f.Fuzz(func(t *testing.T, b []byte, contentType string) {
		index, _ := parseIndex(b, contentType)
		for _, d := range index.descriptors {
			if _, err := ref.ParseDigest(d.Digest.String()); err != nil || d.Size < 0 {
				t.Errorf("a descriptor that can't be: %v", d)
			}
		}
	})
}
