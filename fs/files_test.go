package fs

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

func layer(content, title string, annotations ...string) v1.Descriptor {
	d := v1.Descriptor{MediaType: v1.MediaTypeImageLayer, Digest: digest.FromString(content), Size: 1, Annotations: map[string]string{v1.AnnotationTitle: title}}
	for _, a := range annotations {
		d.Annotations[a] = "true"
	}
	return d
}

func namesOf(s shortcuts) []string {
	var names []string
	for _, c := range s {
		names = append(names, c.name)
	}
	return names
}

// imageOf is the directory of an image whose manifest is in memory.
func imageOf(m *registry.Manifest) *image {
	t := &Tree{manifests: newManifests(), shortcuts: newShortcuts()}
	if m.Digest == "" {
		m.Digest = digest.FromString("manifest")
	}
	t.manifests.add(m)
	r := newRepository(t, ref.Repository{Host: "h", Path: "r"})
	return newImage(place{t, "h/r/tags/v1"}, place{t, "h/r"}, r, m, m.Digest, "v1")
}

// Titles become names; those that lead elsewhere, or are taken, don't.
func TestTitles(t *testing.T) {
	m := &registry.Manifest{Layers: []v1.Descriptor{
		layer("a", "a.txt"), layer("b", "sub/dir/b.txt"), layer("c", "packed", annotationUnpack), layer("d", "a.txt"),
		layer("e", "../evil"), layer("f", "/etc/passwd"), layer("g", "a/../b"), layer("h", ""), layer("i", "sub"), layer("j", "a.txt/x"),
		layer("k", "new\nline"), layer("l", "./x"), layer("m", "sub/"), layer("n", strings.Repeat("d/", maxTitleDepth+1)+"deep"),
		{Digest: digest.FromString("model"), Annotations: map[string]string{annotationFilepath: "weights/model.bin"}},
		{Digest: digest.FromString("both"), Annotations: map[string]string{annotationFilepath: "its path", v1.AnnotationTitle: "its title"}},
		{Digest: digest.FromString("without annotations")},
	}}
	got := fileShortcuts(m, "")
	if got, want := namesOf(got), []string{"a.txt", "its title", "packed.tar.gz", "sub/dir/b.txt", "weights/model.bin"}; !slices.Equal(got, want) {
		t.Errorf("files/ has %q, want %q", got, want)
	}
	d := &shortcutsDir{place: place{&Tree{}, "h/r/tags/v1/files"}, image: imageOf(m), in: filesName}
	for name, want := range map[string]string{
		"a.txt":         "../blobs/" + hexPath(digest.FromString("a")),
		"sub/dir/b.txt": "../../../blobs/" + hexPath(digest.FromString("b")),
	} {
		var at directory = d
		for name := range strings.SplitSeq(path.Dir(name), "/") {
			if name != "." {
				c, err := at.lookup(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				at = c.entry.(directory)
			}
		}
		c, err := at.lookup(t.Context(), path.Base(name))
		if err != nil || c.entry.(symlink).target() != want {
			t.Errorf("%s leads to %v, %v; want %s", name, c.entry, err, want)
		}
	}
}

// files/ is there where a layer has a name there, whatever the config's type is.
func TestFilesAreWhereATitleIs(t *testing.T) {
	of := func(config string, layers ...v1.Descriptor) *registry.Manifest {
		return &registry.Manifest{Config: &v1.Descriptor{MediaType: config, Digest: digest.FromString("c")}, Layers: layers}
	}
	plain := v1.Descriptor{MediaType: v1.MediaTypeImageLayerGzip, Digest: digest.FromString("l")}
	chart := v1.Descriptor{MediaType: helmChart, Digest: digest.FromString("l")}
	for name, test := range map[string]struct {
		m    *registry.Manifest
		want bool
	}{
		"an image":                   {of(v1.MediaTypeImageConfig, plain), false},
		"a bottle":                   {of(v1.MediaTypeImageConfig, plain, layer("b", "jq.bottle.tar.gz")), true},
		"an artifact":                {of("application/x", layer("a", "a.txt")), true},
		"an artifact, no titles":     {of("application/x", plain), false},
		"an artifact, unsafe titles": {of("application/x", layer("a", "../a")), false},
		"an artifact manifest":       {&registry.Manifest{Layers: []v1.Descriptor{layer("a", "a.txt")}}, true},
		"a chart":                    {of(helmConfig, chart), true},
		"a chart's config alone":     {of(helmConfig, plain), false},
		"nothing":                    {&registry.Manifest{}, false},
	} {
		d, err := imageOf(test.m).children(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.lookup(t.Context(), filesName); (err == nil) != test.want {
			t.Errorf("%s: files/ %v", name, err)
		}
	}
}

// A directory of many names is made once, and not by each lookup in it.
func TestShortcutsAreMadeOnce(t *testing.T) {
	const n = 20_000
	m := &registry.Manifest{Digest: digest.FromString("many")}
	for k := range n {
		m.Layers = append(m.Layers, layer(fmt.Sprint(k), fmt.Sprintf("dir%d/file%d", k%100, k)))
	}
	i := imageOf(m)
	first, err := i.shortcuts(t.Context(), filesName)
	if err != nil || len(first) != n {
		t.Fatalf("%d names, %v", len(first), err)
	}
	d := &shortcutsDir{place: i.at(filesName), image: i, in: filesName}
	l, err := d.list(t.Context())
	if err != nil || len(l.names) != 100 || !slices.IsSorted(l.names) {
		t.Errorf("%d directories, %v", len(l.names), err)
	}
	for k := range n {
		sub, err := d.lookup(t.Context(), fmt.Sprintf("dir%d", k%100))
		if err != nil {
			t.Fatal(err)
		}
		c, err := sub.entry.(directory).lookup(t.Context(), fmt.Sprintf("file%d", k))
		if err != nil || c.entry.(symlink).target() != "../../blobs/"+hexPath(m.Layers[k].Digest) {
			t.Fatalf("file%d is %v, %v", k, c.entry, err)
		}
	}
	if again, _ := i.shortcuts(t.Context(), filesName); &again[0] != &first[0] {
		t.Error("they were made again")
	}
}

// Whatever a title is, files/ has safe names alone, and symlinks that lead to the
// image's blobs.
func FuzzTitles(f *testing.F) {
	for _, title := range []string{"a.txt", "sub/dir/b.txt", "../evil", "/etc/passwd", "a/../b", "a//b", "\x00", "a/\n", strings.Repeat("x/", 3000)} {
		f.Add(title, title)
	}
	f.Add("a", "a/b")
	f.Add("a/b", "a")
	f.Fuzz(func(t *testing.T, one, two string) {
		i := imageOf(&registry.Manifest{Layers: []v1.Descriptor{layer("a", one), layer("b", two)}})
		var walk func(d directory)
		walk = func(d directory) {
			l, err := d.list(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for k, name := range l.names {
				if !safeName(name) || k > 0 && l.names[k-1] >= name {
					t.Errorf("%q and %q give the names %q", one, two, l.names)
				}
				found, err := d.lookup(context.Background(), name)
				if err != nil {
					t.Errorf("%q and %q: %q is listed, and isn't found: %v", one, two, name, err)
					continue
				}
				switch e := found.entry.(type) {
				case directory:
					walk(e)
				case *link:
					if to := path.Join("/"+d.where().path, e.to); !strings.HasPrefix(to, "/"+i.path+"/blobs/") {
						t.Errorf("%q and %q: %s leads to %s", one, two, name, to)
					}
				}
			}
		}
		walk(&shortcutsDir{place: i.at(filesName), image: i, in: filesName})
	})
}
