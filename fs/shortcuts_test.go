package fs

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

func TestExtensions(t *testing.T) {
	for mediaType, want := range map[string]string{
		v1.MediaTypeImageLayer:                                      ".tar",
		v1.MediaTypeImageLayerGzip:                                  ".tar.gz",
		v1.MediaTypeImageLayerZstd:                                  ".tar.zst",
		"application/vnd.docker.image.rootfs.diff.tar.gzip":         ".tar.gz",
		"application/vnd.docker.image.rootfs.diff.tar.zstd":         ".tar.zst",
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": ".tar.gz",
		"application/vnd.oci.image.layer.v1.tar+gzip+encrypted":     ".tar.gz.enc",
		"application/vnd.cncf.helm.chart.content.v1.tar+gzip":       ".tar.gz",
		"application/vnd.in-toto+json":                              ".json",
		"application/json":                                          ".json",
		"text/plain; charset=utf-8":                                 ".txt",
		"application/octet-stream":                                  "",
		"":                                                          "",
	} {
		if got := extension(mediaType); got != want {
			t.Errorf("extension(%q) = %q, want %q", mediaType, got, want)
		}
	}
}

func testImage(m *registry.Manifest) *image {
	t := &Tree{}
	r := newRepository(t, ref.Repository{Host: "h", Path: "r"})
	return newImage(place{t, "h/r/tags/v1"}, place{t, "h/r"}, r, m, m.Digest, "v1")
}

func layer(content, title string, annotations ...string) v1.Descriptor {
	d := v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.FromString(content), Size: 1, Annotations: map[string]string{v1.AnnotationTitle: title}}
	for _, a := range annotations {
		d.Annotations[a] = "true"
	}
	return d
}

// Titles become names; those that lead elsewhere, or are taken, don't.
func TestTitles(t *testing.T) {
	m := &registry.Manifest{Config: &v1.Descriptor{MediaType: "application/x"}, Layers: []v1.Descriptor{
		layer("a", "a.txt"), layer("b", "sub/dir/b.txt"), layer("c", "packed", annotationUnpack), layer("d", "a.txt"),
		layer("e", "../evil"), layer("f", "/etc/passwd"), layer("g", "a/../b"), layer("h", ""), layer("i", "sub"), layer("j", "a.txt/x"),
		layer("k", "new\nline"), layer("l", "./x"), layer("m", "sub/"),
	}}
	files, err := testImage(m).files(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := namesOf(files), []string{"a.txt", "sub", "packed.tar.gz"}; !slices.Equal(got, want) {
		t.Errorf("files/ has %q, want %q", got, want)
	}
	d := files.children[1].entry.(*fixed).children[0].entry.(*fixed)
	if got, want := d.children[0].entry.(symlink).target(), "../../../blobs/"+hexPath(digest.FromString("b")); got != want {
		t.Errorf("sub/dir/b.txt points to %q, want %q", got, want)
	}
	if got, want := files.children[0].entry.(symlink).target(), "../blobs/"+hexPath(digest.FromString("a")); got != want {
		t.Errorf("a.txt points to %q, want %q", got, want)
	}
}

func namesOf(d *fixed) []string {
	var names []string
	for _, c := range d.children {
		names = append(names, c.name)
	}
	return names
}

// Platforms are named by what they are; attestations are for none; twins carry
// their digest.
func TestPlatforms(t *testing.T) {
	child := func(content string, p *v1.Platform) v1.Descriptor {
		return v1.Descriptor{MediaType: v1.MediaTypeImageManifest, Digest: digest.FromString(content), Platform: p}
	}
	m := &registry.Manifest{MediaType: v1.MediaTypeImageIndex, Manifests: []v1.Descriptor{
		child("a", &v1.Platform{OS: "linux", Architecture: "amd64"}),
		child("b", &v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}),
		child("c", &v1.Platform{OS: "unknown", Architecture: "unknown"}),
		child("d", nil),
		child("e", &v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.1"}),
		child("f", &v1.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.2"}),
		child("g", &v1.Platform{OS: "../..", Architecture: "x/y"}),
	}}
	d, err := testImage(m).platforms(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"linux-amd64", "linux-arm-v7", "windows-amd64", "windows-amd64-" + digest.FromString("f").Encoded()[:12]}
	if got := namesOf(d); !slices.Equal(got, want) {
		t.Errorf("platforms/ has %q, want %q", got, want)
	}
	if got, want := d.children[0].entry.(symlink).target(), "../../../manifests/"+hexPath(digest.FromString("a")); got != want {
		t.Errorf("linux-amd64 points to %q, want %q", got, want)
	}
}

// Whatever a title is, files/ has safe names alone, and symlinks that lead to the
// image's blobs.
func FuzzTitles(f *testing.F) {
	for _, title := range []string{"a.txt", "sub/dir/b.txt", "../evil", "/etc/passwd", "a/../b", "a//b", "\x00", "a/\n", strings.Repeat("x/", 3000)} {
		f.Add(title, title)
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		m := &registry.Manifest{Layers: []v1.Descriptor{layer("a", one), layer("b", two)}}
		i := testImage(m)
		files, err := i.files(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		var walk func(d *fixed)
		walk = func(d *fixed) {
			for _, c := range d.children {
				if !safeName(c.name) {
					t.Errorf("%q and %q give the name %q", one, two, c.name)
				}
				switch e := c.entry.(type) {
				case *fixed:
					walk(e)
				case *link:
					if to := path.Join("/"+d.path, e.to); !strings.HasPrefix(to, "/"+i.path+"/blobs/") {
						t.Errorf("%q and %q: %s leads to %s", one, two, c.name, to)
					}
				}
			}
		}
		walk(files)
	})
}
