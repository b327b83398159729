package fs

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// archived is an open archive of an image with some layers.
type archived struct {
	*archiveContent
	w      *walked
	layers []v1.Descriptor
}

// openArchive opens the archive of an image with these layers.
func openArchive(t *testing.T, s *registrytest.Server, o Options, layers ...string) archived {
	t.Helper()
	a := archived{w: walk(t, s, t.TempDir(), o)}
	for _, l := range layers {
		a.layers = append(a.layers, blobIn(s, v1.MediaTypeImageLayer, l))
	}
	imageIn(s, "v1", blobIn(s, v1.MediaTypeImageConfig, "{}"), a.layers...)
	a.archiveContent = a.w.opened(testRepo + "/archives/v1.tar")
	return a
}

// opened opens an archive. It is closed when the test ends.
func (w *walked) opened(path string) *archiveContent {
	w.t.Helper()
	e, err := w.to(path)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := e.(node.File).Open(w.t.Context(), caller.Caller{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c.(*archiveContent)
}

// zeros is an archive whose blobs are all zeros, to be read without a blob.
type zeros struct{ *archiveLayout }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	return z.tar.ReadAt(p, off, func(_ int, p []byte, _ int64) error {
		clear(p)
		return nil
	})
}

// offset gives the offset of a layer in the archive.
func (a archived) offset(layer int) int64 {
	section := io.NewSectionReader(zeros{a.archiveLayout}, 0, a.tar.Size())
	for r := tar.NewReader(section); ; {
		h, err := r.Next()
		if err != nil {
			a.w.t.Fatal(err)
		}
		if h.Name == "blobs/"+hexPath(a.layers[layer].Digest) {
			off, err := section.Seek(0, io.SeekCurrent)
			if err != nil {
				a.w.t.Fatal(err)
			}
			return off
		}
	}
}

// read reads n bytes of a layer from an offset on.
func (a archived) read(ctx context.Context, by caller.Caller, layer int, off int64, n int) (string, error) {
	b := make([]byte, n)
	n, err := a.ReadAt(ctx, by, b, a.offset(layer)+off)
	return string(b[:n]), err
}

// A read downloads the blobs that it touches, and no other.
func TestAReadOfAnArchiveTouchesItsBlobsAlone(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	a := openArchive(t, s, Options{}, strings.Repeat("a", 5000), strings.Repeat("b", 5000), strings.Repeat("c", 5000))
	if got, err := a.read(t.Context(), caller.Caller{}, 1, 4000, 100); got != strings.Repeat("b", 100) || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if got := s.Count("GET blob"); got != 1 || s.Count("GET blob "+a.layers[1].Digest.String()) != 1 {
		t.Errorf("requested were %q", s.Asked())
	}
	got, err := a.read(t.Context(), caller.Caller{}, 1, 4999, 600)
	if err != nil || got[0] != 'b' || strings.Trim(got[1:121], "\x00") != "" || !strings.HasPrefix(got[121:], "blobs/sha256/"+a.layers[2].Digest.Encoded()) {
		t.Errorf("at the end of a layer stands %q, %v", got, err)
	}
	if s.Count("GET blob") != 1 {
		t.Errorf("a header and padding requested %q", s.Asked())
	}
}

// closes counts how often a content is closed.
type closes struct {
	node.Content
	n int
}

func (c *closes) Close() {
	c.n++
	c.Content.Close()
}

// Reads in a row have one open blob. Another blob closes it, unless it is being read, and the end
// of the file closes the last one.
func TestAnOpenArchiveHasOneOpenBlob(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	a := openArchive(t, s, Options{}, strings.Repeat("a", 5000), strings.Repeat("b", 5000))
	read := func(layer int) (last *openPiece) {
		t.Helper()
		if _, err := a.read(t.Context(), caller.Caller{}, layer, 10, 100); err != nil {
			t.Fatal(err)
		}
		return a.last
	}
	first := read(0)
	ofFirst := &closes{Content: first.Content}
	first.Content = ofFirst
	if read(0) != first {
		t.Error("a second read opened the blob again")
	}
	during, err := a.open(t.Context(), caller.Caller{}, first.member)
	if err != nil || during != first {
		t.Fatalf("a read opened %p, %v; want %p", during, err, first)
	}
	second := read(1)
	ofSecond := &closes{Content: second.Content}
	second.Content = ofSecond
	b := make([]byte, 1)
	if _, err := during.ReadAt(t.Context(), caller.Caller{}, b, 0); err != nil || b[0] != 'a' || ofFirst.n != 0 {
		t.Errorf("a blob that is being read reads %q, %v, and is closed %d times", b, err, ofFirst.n)
	}
	a.release(during)
	if ofFirst.n != 1 || ofSecond.n != 0 {
		t.Errorf("after the read the blob is closed %d times, and the last one %d times", ofFirst.n, ofSecond.n)
	}
	a.Close()
	if ofFirst.n != 1 || ofSecond.n != 1 || a.last != nil {
		t.Errorf("at the end they are closed %d and %d times", ofFirst.n, ofSecond.n)
	}
}

// Many readers of one handle get the bytes of the whole, and each blob comes once.
func TestManyReadersOfOneArchive(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	a := openArchive(t, s, Options{}, strings.Repeat("a", 5000), strings.Repeat("b", 700), strings.Repeat("c", 5000))
	whole, err := a.w.shows(testRepo + "/archives/v1.tar")
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for k := range 8 {
		readers.Go(func() {
			for off := k * 13; off < len(whole); off += 1531 {
				b := make([]byte, 3000)
				n, err := a.ReadAt(t.Context(), caller.Caller{}, b, int64(off))
				if want := whole[off:min(off+3000, len(whole))]; string(b[:n]) != want || err != nil {
					t.Errorf("at %d are %d bytes, %v", off, n, err)
				}
			}
		})
	}
	readers.Wait()
	if got := s.Count("GET blob"); got != 4 {
		t.Errorf("%d requests for 4 blobs: %q", got, s.Asked())
	}
}

// A wrong blob, a blob that the registry lacks, an interrupt and --max-download end the reads that
// touch the blob, with the error that its file has; the rest of the archive is there.
func TestAReadOfAnArchiveFailsAsThatOfABlob(t *testing.T) {
	good, bad := strings.Repeat("a", 5000), strings.Repeat("b", 5000)
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	program := caller.Caller{Program: true, Thread: uint32(os.Getpid())}
	for name, test := range map[string]struct {
		quirk registrytest.Quirk
		o     Options
		ctx   context.Context // nil: that of the test
		want  error
	}{
		"wrong":              {quirk: registrytest.Status(http.StatusOK, strings.Repeat("x", len(bad))), want: cache.ErrMismatch},
		"wrong, as it comes": {quirk: registrytest.Status(http.StatusOK, strings.Repeat("x", len(bad))), o: Options{Stream: true}, want: cache.ErrMismatch},
		"missing":            {quirk: registrytest.Status(http.StatusNotFound, ""), want: registry.ErrNotFound},
		"interrupted":        {ctx: interrupted, want: context.Canceled},
		"too much":           {o: Options{MaxDownload: 6000}, want: guard.ErrOverdrawn},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			a := openArchive(t, s, test.o, good, bad)
			if test.quirk != nil {
				s.On("GET blob "+a.layers[1].Digest.String(), test.quirk)
			}
			if test.ctx == nil {
				test.ctx = t.Context()
			}
			if got, err := a.read(t.Context(), program, 0, 0, 100); got != good[:100] || err != nil {
				t.Fatalf("the first layer reads %q, %v", got, err)
			}
			if got, err := a.read(test.ctx, program, 1, 0, 100); !errors.Is(err, test.want) || got != "" {
				t.Errorf("the second layer reads %q, %v; want %v", got, err, test.want)
			}
			if got, err := a.read(t.Context(), program, 0, 100, 100); got != good[:100] || err != nil {
				t.Errorf("then the first layer reads %q, %v", got, err)
			}
		})
	}
}

// An archive that is open, or bound to a digest, stays that of its image when the tag moves. The
// name of the tag means the new image from then on.
func TestAnArchiveStaysWithItsImage(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	a := openArchive(t, s, Options{}, strings.Repeat("a", 5000))
	link, err := a.w.shows(testRepo + "/tags/v1/image.tar")
	if err != nil {
		t.Fatal(err)
	}
	config, moved := blobIn(s, v1.MediaTypeImageConfig, "{}"), blobIn(s, v1.MediaTypeImageLayer, "moved")
	image := imageIn(s, "v1", config, moved)
	a.w.ages()
	a.w.holds(testRepo+"/archives/v1.tar", image, config, moved)
	if got, err := a.read(t.Context(), caller.Caller{}, 0, 0, 5000); got != strings.Repeat("a", 5000) || err != nil {
		t.Errorf("the open one reads %d bytes, %v", len(got), err)
	}
	bound, err := a.w.shows(testRepo + "/" + strings.TrimPrefix(link, "../../"))
	if err != nil || !strings.Contains(bound, strings.Repeat("a", 5000)) {
		t.Errorf("the bound one has %d bytes, %v", len(bound), err)
	}
}

// What a registry gets later makes another archive: the old name is looked up again, and never
// shows other bytes under the old size.
func TestAnArchiveOfASparseIndexGrows(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	layer := blobIn(s, v1.MediaTypeImageLayer, "layer")
	image := imageIn(s, "", blobIn(s, v1.MediaTypeImageConfig, "{}"), layer)
	image.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	later := imageIn(s, "", blobIn(s, v1.MediaTypeImageConfig, `{"later":1}`))
	raw := s.ReadManifest(testRepo, later.Digest.String())
	s.Remove(testRepo, later.Digest.String())
	indexIn(s, "v1", image, later)
	w := walk(t, s, t.TempDir(), Options{Platform: *image.Platform})
	before, err := w.to(testRepo + "/archives/v1.tar")
	if err != nil {
		t.Fatal(err)
	}
	s.Manifest(testRepo, "", later.MediaType, raw)
	w.ages()
	after, err := w.to(testRepo + "/archives/v1.tar")
	if err != nil {
		t.Fatal(err)
	}
	if a, b := before.Attr(), after.Attr(); a.Identity == b.Identity || a.Size >= b.Size {
		t.Errorf("before it is %+v, and then %+v", a, b)
	}
	if _, err := before.(node.File).Open(t.Context(), caller.Caller{}); !errors.Is(err, syscall.ESTALE) {
		t.Errorf("the old one opens with %v, want ESTALE", err)
	}
	if c, err := after.(node.File).Open(t.Context(), caller.Caller{}); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
}

// An archive goes through the page cache if all of its blobs are cached. The kernel's pages are those
// of the cache files.
func TestAnArchiveTellsItsPages(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	a := openArchive(t, s, Options{}, "one", "two")
	if way := a.Way(); way != (node.Way{}) {
		t.Errorf("one that isn't cached is read as %+v", way)
	}
	if _, err := a.w.shows(testRepo + "/archives/v1.tar"); err != nil {
		t.Fatal(err)
	}
	way := a.w.opened(testRepo + "/archives/v1.tar").Way()
	if way.Mode != node.Cached || way.Pages == 0 || way.Pages == node.UnverifiedPages {
		t.Errorf("a cached one is read as %+v", way)
	}
	if again := a.w.opened(testRepo + "/archives/v1.tar").Way(); again != way {
		t.Errorf("then it is read as %+v", again)
	}
	a.w.opts.Stream = true
	if way := a.w.opened(testRepo + "/archives/v1.tar").Way(); way != (node.Way{Pages: node.UnverifiedPages}) {
		t.Errorf("one whose blobs are shown as they come is read as %+v", way)
	}
}
