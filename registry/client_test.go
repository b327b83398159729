package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry/ref"
)

const blob = "0123456789"

// serve starts a plain registry, and gives a client of it and a repository.
func serve(t *testing.T, h http.HandlerFunc) (*Client, ref.Repository) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	c := New(Options{PlainHTTP: []string{host}, RetryMaxWait: time.Second})
	t.Cleanup(c.Close)
	return c, ref.Repository{Host: host, Path: "a/b"}
}

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
			cl, r := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.contentType)
				if c.header != "" {
					w.Header().Set("Docker-Content-Digest", c.header)
				}
				_, _ = io.WriteString(w, c.body)
			})
			if _, err := cl.Manifest(context.Background(), r, c.reference); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestABlobIsContinuedWhereItBrokeOff(t *testing.T) {
	for name, status := range map[string]int{"by Range": 206, "by the whole": 200} {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int32
			cl, r := serve(t, func(w http.ResponseWriter, req *http.Request) {
				rest := blob
				if n.Add(1) == 1 {
					w.Header().Set("Content-Length", "10")
					_, _ = io.WriteString(w, blob[:4])
					return
				}
				if got := req.Header.Get("Range"); got != "bytes=4-" {
					t.Errorf("Range %q", got)
				}
				if status == 206 {
					rest = blob[4:]
					w.Header().Set("Content-Range", "bytes 4-9/10")
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, rest)
			})
			if got, err := get(cl, r, 10); err != nil || got != blob {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

// Where a registry does Range wrong, the rest comes from the start.
func TestABlobIsContinuedWithoutRange(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"another part": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, blob[5:])
		},
		"a part, it doesn't say which": func(w http.ResponseWriter) { w.WriteHeader(http.StatusPartialContent) },
		"bad request":                  func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) },
		"not implemented":              func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotImplemented) },
		"not satisfiable":              func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestedRangeNotSatisfiable) },
	} {
		t.Run(name, func(t *testing.T) {
			var ranges []string
			cl, r := serve(t, func(w http.ResponseWriter, req *http.Request) {
				ranges = append(ranges, req.Header.Get("Range"))
				switch len(ranges) {
				case 1:
					w.Header().Set("Content-Length", "10")
					_, _ = io.WriteString(w, blob[:4])
				case 2:
					answer(w)
				default:
					_, _ = io.WriteString(w, blob)
				}
			})
			if got, err := get(cl, r, 10); err != nil || got != blob {
				t.Errorf("got %q, %v", got, err)
			}
			if want := []string{"", "bytes=4-", ""}; !slices.Equal(ranges, want) {
				t.Errorf("asked for %q, want %q", ranges, want)
			}
		})
	}
}

// A body without a length that ends with its connection is known by the size that
// was promised not to be all.
func TestABlobThatEndsWithItsConnectionIsContinued(t *testing.T) {
	n := 0
	cl, r := serve(t, func(w http.ResponseWriter, req *http.Request) {
		if n++; n > 1 {
			w.Header().Set("Content-Range", "bytes 4-9/10")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, blob[4:])
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.0 200 OK\r\n\r\n" + blob[:4])
		_ = rw.Flush()
	})
	if got, err := get(cl, r, 10); err != nil || got != blob {
		t.Errorf("got %q, %v", got, err)
	}
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
	cl, r := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, blob) })
	for _, size := range []int64{0, 9, 11} {
		if got, err := get(cl, r, size); !errors.Is(err, ErrCorrupt) || int64(len(got)) > size {
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
			cl, r := serve(t, func(w http.ResponseWriter, req *http.Request) {
				if req.URL.RawQuery == "" || name == "circle" {
					w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, c.link))
				}
				_, _ = io.WriteString(w, `{"tags":null}`)
			})
			var last error
			for _, err := range cl.Tags(context.Background(), r) {
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
	for name, page := range map[string]func(n int) string{
		"empty pages":         func(int) string { return `{"tags":[]}` },
		"the same over again": func(int) string { return `{"tags":["a","b"]}` },
		"too much": func(n int) string {
			return fmt.Sprintf(`{"tags":["%d"]%s}`, n, strings.Repeat(" ", maxListTotal/4))
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			cl, r := serve(t, func(w http.ResponseWriter, req *http.Request) {
				n++
				w.Header().Set("Link", fmt.Sprintf(`<?last=%d>; rel="next"`, n))
				_, _ = io.WriteString(w, page(n))
			})
			var last error
			for _, err := range cl.Tags(context.Background(), r) {
				last = err
			}
			if !errors.Is(last, ErrServer) || n > 2*maxNoNews {
				t.Errorf("after %d pages: %v", n, last)
			}
		})
	}
}

func TestWhatIsMissingIsNotExist(t *testing.T) {
	cl, r := serve(t, http.NotFound)
	if _, err := cl.Manifest(context.Background(), r, "v1"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"manifests":[]}`), "")
	f.Add([]byte(`null`), "a/b;")
	f.Fuzz(func(t *testing.T, b []byte, contentType string) {
		if _, err := ParseManifest(b, contentType, ""); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Error(err)
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
		ds, _ := parseIndex(b, contentType)
		for _, d := range ds {
			if _, err := ref.ParseDigest(d.Digest.String()); err != nil || d.Size < 0 {
				t.Errorf("a descriptor that can't be: %v", d)
			}
		}
	})
}
