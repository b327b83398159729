package fs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/layers"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/rootfs"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// archiveOf makes an archive of lines, one for each entry: "name" is a directory if it ends in a
// slash, "name=text" a file, "name->target" a symlink, "name=>target" a hard link.
func archiveOf(t *testing.T, lines ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, line := range lines {
		h := &tar.Header{Name: line, Mode: 0o755, ModTime: time.Unix(1700000000, 0), Format: tar.FormatPAX, Typeflag: tar.TypeDir}
		text := ""
		if name, to, ok := strings.Cut(line, "->"); ok {
			h.Name, h.Linkname, h.Typeflag = name, to, tar.TypeSymlink
		} else if name, to, ok := strings.Cut(line, "=>"); ok {
			h.Name, h.Linkname, h.Typeflag = name, to, tar.TypeLink
		} else if name, content, ok := strings.Cut(line, "="); ok {
			text = content
			h.Name, h.Size, h.Mode, h.Typeflag = name, int64(len(content)), 0o640, tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zipped gives bytes as gzip packs them.
func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

// pushed is an image that was pushed: the digests of its manifest and of its packed layers.
type pushed struct {
	digest digest.Digest
	layers []digest.Digest
}

func (p pushed) rootfs() string { return "r/rootfs/" + hexPath(p.digest) }

// pushImage pushes an image of archives, packed by gzip. promise changes the diff IDs in its config.
func pushImage(t *testing.T, s *registrytest.Server, tag string, promise func([]digest.Digest) []digest.Digest, archives ...[]byte) (p pushed) {
	t.Helper()
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	var ids []digest.Digest
	for _, a := range archives {
		z := zipped(t, a)
		ids = append(ids, digest.FromBytes(a))
		p.layers = append(p.layers, s.Blob("r", z))
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromBytes(z), Size: int64(len(z))})
	}
	if promise != nil {
		ids = promise(ids)
	}
	config, err := json.Marshal(v1.Image{Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, RootFS: v1.RootFS{Type: "layers", DiffIDs: ids}})
	if err != nil {
		t.Fatal(err)
	}
	m.Config = v1.Descriptor{MediaType: v1.MediaTypeImageConfig, Digest: s.Blob("r", config), Size: int64(len(config))}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	p.digest = s.Manifest("r", tag, m.MediaType, raw)
	return p
}

func TestAnImageShowsItsFiles(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil,
		archiveOf(t, "etc/", "etc/os-release=old", "usr/", "usr/bin/", "usr/bin/tool=tool", "gone=x", "bin->/usr/bin"),
		archiveOf(t, "etc/os-release=new", ".wh.gone", "usr/bin/same=>usr/bin/tool"))
	w := walkAt(t, s, t.TempDir())
	w.want("r/tags/v1/rootfs", "../../rootfs/"+hexPath(p.digest))
	at := p.rootfs()
	w.want(at, "bin etc usr")
	w.want(at+"/etc/os-release", "new")
	w.want(at+"/usr/bin", "same tool")
	w.want(at+"/usr/bin/same", "tool")
	w.want(at+"/bin", "usr/bin")
	w.fails(at+"/gone", node.ErrNotExist)
	w.fails(at+"/.wh.gone", node.ErrNotExist)
	w.want("r/tags/v1/unpacked", "00-"+p.layers[0].Encoded()[:12]+" 01-"+p.layers[1].Encoded()[:12])
	w.want("r/tags/v1/unpacked/01-"+p.layers[1].Encoded()[:12], "../../../unpacked/"+hexPath(p.layers[1]))
	w.want("r/unpacked/"+hexPath(p.layers[1]), ".wh.gone etc usr")
	w.want("r/unpacked/"+hexPath(p.layers[1])+"/.wh.gone", "")
	w.want("r/rootfs", "sha256 sha512")
	w.want("r/rootfs/sha256", "")

	tool, err := w.to(at + "/usr/bin/tool")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{at + "/usr/bin/same", "r/unpacked/" + hexPath(p.layers[0]) + "/usr/bin/tool"} {
		e, err := w.to(path)
		if err != nil {
			t.Fatal(err)
		}
		if e.Attr().Identity != tool.Attr().Identity {
			t.Errorf("%s has an inode of its own", path)
		}
	}
	if a := tool.Attr(); a.Mode != syscall.S_IFREG|0o640 || a.Mtime.Unix() != 1700000000 || a.UID != 0 {
		t.Errorf("the file has %+v", a)
	}
}

// A path is decided from the top layer down, and no layer below the one that decides is asked for.
func TestAFileOfTheTopLayerFetchesNoOther(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil, archiveOf(t, "base=x", "d/", "d/base=x"), archiveOf(t, "d/", "d/top=y", ".wh.gone"))
	w := walkAt(t, s, t.TempDir())
	if _, err := w.to(p.rootfs()); err != nil {
		t.Fatal(err)
	}
	s.Forget()
	w.want(p.rootfs()+"/d/top", "y")
	w.fails(p.rootfs()+"/gone", node.ErrNotExist)
	if n := s.Count("GET blob " + p.layers[0].String()); n != 0 {
		t.Errorf("the base was asked for %d times: %v", n, s.Asked())
	}
	if n := s.Count("GET blob " + p.layers[1].String()); n != 1 {
		t.Errorf("the top layer was asked for %d times", n)
	}
	w.want(p.rootfs()+"/d", "base top")
	if n := s.Count("GET blob " + p.layers[0].String()); n != 1 {
		t.Errorf("a listing asked for the base %d times", n)
	}
}

// evictAll removes all blobs of a cache, of which there are as many as given. A layer may be read a
// moment before it is kept.
func evictAll(t *testing.T, dir string, blobs int) {
	t.Helper()
	c, err := cache.At(dir)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); blobs > 0; time.Sleep(time.Millisecond) {
		removed, err := c.Prune(t.Context(), cache.PruneOptions{To: 1})
		if err != nil {
			t.Fatal(err)
		}
		if blobs -= removed.Blobs.Files; blobs > 0 && time.Now().After(end) {
			t.Fatalf("%d blobs didn't come", blobs)
		}
	}
}

// What is in a layer is known longer than its bytes are kept, also by the next mount.
func TestAListingOutlivesTheLayers(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil, archiveOf(t, "a=x", "d/", "d/b=y"), archiveOf(t, "c=z"))
	dir := t.TempDir()
	walkAll := func(w *walked) {
		w.want(p.rootfs(), "a c d")
		w.want(p.rootfs()+"/d", "b")
	}
	w := walkAt(t, s, dir)
	walkAll(w)
	w.want(p.rootfs()+"/a", "x")
	again := walkAt(t, s, dir)
	again.shows(p.rootfs()) // which asks for the manifest
	evictAll(t, dir, 6)     // the layers as they came and unpacked, the config and the manifest
	s.Forget()
	walkAll(again)
	if asked := s.Asked(); len(asked) > 0 {
		t.Errorf("the second mount asked for %v", asked)
	}
	again.want(p.rootfs()+"/a", "x")
	if n := s.Count("GET blob"); n != 1 {
		t.Errorf("a file of a layer asked for %v", s.Asked())
	}
}

// A tree that was seen costs the next mount as many requests after an eviction of all blobs as before.
func TestARemountCostsTheSameAfterAnEviction(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil, archiveOf(t, "a=x", "d/", "d/b=y"), archiveOf(t, "c=z"))
	child := s.ReadManifest("r", p.digest.String())
	platform := DefaultPlatform()
	index, err := json.Marshal(v1.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{
		{MediaType: v1.MediaTypeImageManifest, Digest: p.digest, Size: int64(len(child)), Platform: &platform},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.Manifest("r", "multi", v1.MediaTypeImageIndex, index)
	dir := t.TempDir()
	listings := func(w *walked) {
		t.Helper()
		for _, tag := range []string{"v1", "multi"} {
			w.want("r/tags/"+tag+"/rootfs", "../../rootfs/"+hexPath(p.digest))
			w.want(p.rootfs()+"/d", "b")
		}
		w.want("r/tags/v1/unpacked/00-"+p.layers[0].Encoded()[:12], "../../../unpacked/"+hexPath(p.layers[0]))
		w.want("r/unpacked/"+hexPath(p.layers[0]), "a d")
	}
	listings(walk(t, s, dir, Options{TagTTL: time.Hour}))
	remount := func() *walked {
		t.Helper()
		w := walk(t, s, dir, Options{TagTTL: time.Hour})
		s.Forget()
		listings(w)
		return w
	}
	remount()
	if asked := s.Asked(); len(asked) != 0 {
		t.Errorf("a remount asks for %v", asked)
	}
	evictAll(t, dir, 7) // and the index
	w := remount()
	if asked := s.Asked(); len(asked) != 0 {
		t.Errorf("after an eviction, a remount asks for %v", asked)
	}
	// That the manifests are there says nothing about whether the repository may show them.
	w.ages()
	s.Forget()
	listings(w)
	if got, want := s.Asked(), []string{"HEAD manifest v1", "HEAD manifest multi"}; !slices.Equal(got, want) {
		t.Errorf("when nothing is believed any more, it asks for %v, want %v", got, want)
	}
}

// A file of a layer is one inode in all repositories that have the layer. It is read as long as one
// of those that showed it may show it, and no other is asked.
func TestAFileIsReadThroughAnyRepositoryThatShowedIt(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusForbidden, http.StatusServiceUnavailable} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			p := pushImage(t, s, "v1", nil, archiveOf(t, "a=x"))
			m, err := registry.ParseManifest(s.ReadManifest("r", p.digest.String()), "", "")
			if err != nil {
				t.Fatal(err)
			}
			for _, repo := range []string{"other", "unseen"} {
				s.Blob(repo, s.ReadBlob("r", p.layers[0]))
				s.Blob(repo, s.ReadBlob("r", m.Config.Digest))
				s.Manifest(repo, "v1", m.MediaType, m.Raw)
			}
			dir := t.TempDir()
			walkAt(t, s, dir).want(p.rootfs(), "a") // which has the layer open for a while
			w := walkAt(t, s, dir)
			e, err := w.to(p.rootfs() + "/a") // the kernel has this one as the inode
			if err != nil {
				t.Fatal(err)
			}
			w.want("other"+strings.TrimPrefix(p.rootfs(), "r"), "a")
			evictAll(t, dir, 4)
			// reads reads the file while some repositories deny it, and gives those that were asked.
			reads := func(deny ...string) (text string, asked []string, err error) {
				defer s.On("GET blob", func(x *registrytest.Exchange, next func() *registrytest.Answer) *registrytest.Answer {
					if slices.Contains(deny, x.Repository) {
						return registrytest.Plain(status, "")
					}
					return next()
				}).End()
				s.Forget()
				content, err := e.(node.File).Open(t.Context(), caller.Caller{})
				if err != nil {
					return "", nil, err
				}
				defer content.Close()
				b := make([]byte, 10)
				n, err := content.ReadAt(t.Context(), caller.Caller{}, b, 0)
				for _, r := range s.Requests() {
					asked = append(asked, r.Repository)
				}
				return string(b[:n]), slices.Compact(asked), err
			}
			if text, asked, err := reads("r", "other"); err == nil || !slices.Equal(asked, []string{"r", "other"}) {
				t.Errorf("it reads %q, %v, of %q; want an error of %q", text, err, asked, "r")
			}
			if text, asked, err := reads("r"); text != "x" || err != nil || asked[len(asked)-1] != "other" {
				t.Errorf("it reads %q, %v, of %q; want %q of %q", text, err, asked, "x", "other")
			}
		})
	}
}

func TestWhatIsWrongWithALayerIsAnError(t *testing.T) {
	good := archiveOf(t, "a=x")
	wrong := func(ids []digest.Digest) []digest.Digest { return []digest.Digest{digest.FromString("another")} }
	for _, c := range []struct {
		name    string
		archive []byte
		promise func([]digest.Digest) []digest.Digest
		is      error
		errno   syscall.Errno
	}{
		{"a wrong diff ID", good, wrong, layers.ErrDiffID, syscall.EBADMSG},
		{"no diff ID", good, func([]digest.Digest) []digest.Digest { return nil }, layers.ErrDiffID, syscall.EBADMSG},
		{"an archive that breaks off", archiveOf(t, "a="+strings.Repeat("x", 2000))[:1500], nil, rootfs.ErrCorrupt, syscall.EBADMSG},
		{"no archive", bytes.Repeat([]byte("no tar "), 200), nil, rootfs.ErrNoArchive, syscall.EOPNOTSUPP},
		{"too large", archiveOf(t, "a="+strings.Repeat("x", 1<<20)), nil, rootfs.ErrTooLarge, syscall.EFBIG},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			p := pushImage(t, s, "v1", c.promise, c.archive)
			w := walk(t, s, t.TempDir(), Options{UnpackedBytes: 1 << 20})
			w.fails(p.rootfs()+"/a", c.is)
			s.Forget()
			w.fails(p.rootfs(), c.is)
			if n := s.Count("GET blob"); n > 0 {
				t.Errorf("the layer was asked for again: %v", s.Asked())
			}
			_, err := w.shows(p.rootfs())
			if v := w.kernel.Judge(t.Context(), err); v.Errno != c.errno || v.Hint == "" {
				t.Errorf("the errno is %v, with the hint %q", v.Errno, v.Hint)
			}
			if !strings.Contains(fmt.Sprint(err), "layer 1 of 1 of "+s.Host+"/r@"+p.digest.String()) && c.name != "no diff ID" {
				t.Errorf("the error names no layer: %v", err)
			}
		})
	}
}

func TestWhatIsNotShownOfALayerIsTold(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil, archiveOf(t, "a=x"), archiveOf(t, "b=>b", "c=y"))
	w := walkAt(t, s, t.TempDir())
	w.want(p.rootfs(), "a c")
	var f node.Failure
	for line := range bytes.Lines(w.jsonl()) {
		if err := json.Unmarshal(line, &f); err != nil {
			t.Fatal(err)
		}
	}
	if f.Op != "unpack" || !strings.HasSuffix(f.Path, "r/unpacked/"+hexPath(p.layers[1])) || !strings.Contains(f.Cause, `"b"`) {
		t.Errorf("errors.jsonl has %+v", f)
	}
}

// A symlink whose target gets too long when it is confined is listed, and can't be read.
func TestASymlinkThatCannotBeConfinedIsListed(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	long := "/" + strings.Repeat("x/", 2046) + "y"
	p := pushImage(t, s, "v1", nil, archiveOf(t, "a/b/c/link->"+long, "a/b/c/file=x"))
	w := walkAt(t, s, t.TempDir())
	w.want(p.rootfs()+"/a/b/c", "file link")
	e, err := w.to(p.rootfs() + "/a/b/c/link")
	if err != nil {
		t.Fatal(err)
	}
	l := e.(*treeLink)
	if v := w.kernel.Judge(t.Context(), l.Broken()); v.Errno != syscall.ENAMETOOLONG || l.Attr().Size == 0 {
		t.Errorf("reading it fails with %v (%v); it has %d bytes", v.Errno, l.Broken(), l.Attr().Size)
	}
}

// unpacked/ shows no hard link into another layer, and says so once.
func TestAHardLinkIntoAnotherLayerIsTold(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil, archiveOf(t, "a=x"), archiveOf(t, "b=>a", "c=y"))
	w := walkAt(t, s, t.TempDir())
	at := "r/unpacked/" + hexPath(p.layers[1])
	w.want(at, "c")
	w.want(at, "c")
	w.want(p.rootfs()+"/b", "x")
	if n := strings.Count(string(w.jsonl()), at+"/b"); n != 1 {
		t.Errorf("it is told %d times:\n%s", n, w.jsonl())
	}
}

// An index that the disk damaged is made anew.
func TestADamagedIndexIsMadeAnew(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil, archiveOf(t, "a=x", "d/", "d/b=y"))
	dir := t.TempDir()
	w := walkAt(t, s, dir)
	w.want(p.rootfs(), "a d")
	path := filepath.Join(dir, "v1/indexes", "sha256", p.layers[0].Encoded()[:2], p.layers[0].Encoded())
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, int(st.Size())), 0); err != nil {
		t.Fatal(err)
	}
	again := walkAt(t, s, dir)
	again.want(p.rootfs(), "a d")
	again.want(p.rootfs()+"/d/b", "y")
	w.want(p.rootfs()+"/d/b", "y")
}

// A blob that is no archive is asked for once, by whatever name.
func TestABlobThatIsNoArchiveIsAskedForOnce(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	at := "r/unpacked/" + hexPath(s.Blob("r", bytes.Repeat([]byte("no tar "), 200)))
	w := walkAt(t, s, t.TempDir())
	w.fails(at, rootfs.ErrNoArchive)
	s.Forget()
	w.fails(at, rootfs.ErrNoArchive)
	if asked := s.Asked(); len(asked) > 0 {
		t.Errorf("asked %v", asked)
	}
}

// A descriptor that promises no bytes gives no layer, and leaves nothing that spoils the right one.
func TestALayerThatIsPromisedEmptySpoilsNothing(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil, archiveOf(t, "a=x"))
	var m v1.Manifest
	if err := json.Unmarshal(s.ReadManifest("r", p.digest.String()), &m); err != nil {
		t.Fatal(err)
	}
	m.Layers[0].Size = 0
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	wrong := pushed{digest: s.Manifest("r", "wrong", m.MediaType, raw)}
	w := walkAt(t, s, t.TempDir())
	w.fails(wrong.rootfs()+"/a", registry.ErrCorrupt)
	w.want(p.rootfs()+"/a", "x")
}

// A layer is unpacked once although the cache has no room for its index.
func TestAnIndexThatCannotBeKeptIsUsed(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil, archiveOf(t, "a=x", "b=y"))
	dir := t.TempDir()
	small, err := cache.Open(dir, cache.Options{MaxBytes: 2000})
	if err != nil {
		t.Fatal(err)
	}
	if err := small.Close(); err != nil {
		t.Fatal(err)
	}
	w := walkAt(t, s, dir)
	for range 3 {
		w.want(p.rootfs(), "a b")
		if _, err := w.to(p.rootfs() + "/b"); err != nil {
			t.Error(err)
		}
	}
	if n := s.Count("GET blob " + p.layers[0].String()); n != 1 {
		t.Errorf("the layer was downloaded %d times", n)
	}
}

// A listing that was interrupted before it had all layers has no later lookup unpack them.
func TestALookupUnpacksNothingForAListing(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil, archiveOf(t, "base=x"), archiveOf(t, "middle=y"), archiveOf(t, "top=z"))
	w := walkAt(t, s, t.TempDir())
	root, err := w.to(p.rootfs())
	if err != nil {
		t.Fatal(err)
	}
	d := root.(*treeDir)
	d.image.Ahead(2)
	if _, err := d.Lookup(t.Context(), "top"); err != nil {
		t.Fatal(err)
	}
	w.layers.Close() // which waits for what is unpacked beside
	for _, l := range p.layers[:2] {
		if n := s.Count("GET blob " + l.String()); n != 0 {
			t.Errorf("%s was asked for %d times", l, n)
		}
	}
}

// An archive can't say from which layer it is.
func TestAnArchiveDoesNotSpeakForTheMount(t *testing.T) {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	records := map[string]string{"SCHILY.xattr.user.ocifs.layer": "forged", "SCHILY.xattr.user.oci.digest": "forged", "SCHILY.xattr.user.mine": "true"}
	for _, h := range []tar.Header{{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "d/f", Typeflag: tar.TypeReg, Mode: 0o644}} {
		h.PAXRecords = records
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	s := registrytest.Start(t, registrytest.Options{})
	p := pushImage(t, s, "v1", nil, b.Bytes())
	w := walkAt(t, s, t.TempDir())
	w.want(p.rootfs(), "d")
	for _, path := range []string{"/d", "/d/f"} {
		e, err := w.to(p.rootfs() + path)
		if err != nil {
			t.Fatal(err)
		}
		got := e.(interface{ Xattrs() map[string]string }).Xattrs()
		if want := map[string]string{"user.mine": "true", layerXattr: p.layers[0].String()}; !maps.Equal(got, want) {
			t.Errorf("%s has %v", path, got)
		}
	}
}
