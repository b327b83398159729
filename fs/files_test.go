package fs

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
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
func imageOf(t testing.TB, m *registry.Manifest) *image {
	t.Helper()
	if m.Digest == "" {
		m.Digest = digest.FromString("manifest")
	}
	store, err := cache.Open(t.TempDir(), cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	tree := &Tree{known: known.New(known.Options{Store: store, ListTTL: time.Hour}), shortcuts: newShortcuts()}
	r := tree.repository(ref.Repository{Host: "h", Path: "r"})
	r.PushedManifest(m)
	return newImage(place{tree, "h/r/tags/v1"}, place{tree, "h/r"}, r, m, m.Digest, "v1")
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
	if got, want := namesOf(got), []string{"a.txt", "its title", "packed", "packed.tar.gz", "sub/dir/b.txt", "weights/model.bin"}; !slices.Equal(got, want) {
		t.Errorf("files/ has %q, want %q", got, want)
	}
	d := &shortcutsDir{place: place{&Tree{}, "h/r/tags/v1/files"}, image: imageOf(t, m), in: filesName}
	for name, want := range map[string]string{
		"a.txt":         "../blobs/" + hexPath(digest.FromString("a")),
		"sub/dir/b.txt": "../../../blobs/" + hexPath(digest.FromString("b")),
	} {
		var at node.Directory = d
		for name := range strings.SplitSeq(path.Dir(name), "/") {
			if name != "." {
				c, err := at.Lookup(t.Context(), name)
				if err != nil {
					t.Fatal(err)
				}
				at = c.Entry.(node.Directory)
			}
		}
		c, err := at.Lookup(t.Context(), path.Base(name))
		if err != nil || c.Entry.(node.Symlink).Target() != want {
			t.Errorf("%s leads to %v, %v; want %s", name, c.Entry, err, want)
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
		d, err := imageOf(t, test.m).entries(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Lookup(t.Context(), filesName); (err == nil) != test.want {
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
	i := imageOf(t, m)
	first, err := i.shortcuts(t.Context(), filesName)
	if err != nil || len(first) != n {
		t.Fatalf("%d names, %v", len(first), err)
	}
	d := &shortcutsDir{place: i.at(filesName), image: i, in: filesName}
	l, err := d.List(t.Context())
	if err != nil || len(l.Names) != 100 || !slices.IsSorted(l.Names) {
		t.Errorf("%d directories, %v", len(l.Names), err)
	}
	for k := range n {
		sub, err := d.Lookup(t.Context(), fmt.Sprintf("dir%d", k%100))
		if err != nil {
			t.Fatal(err)
		}
		c, err := sub.Entry.(node.Directory).Lookup(t.Context(), fmt.Sprintf("file%d", k))
		if err != nil || c.Entry.(node.Symlink).Target() != "../../blobs/"+hexPath(m.Layers[k].Digest) {
			t.Fatalf("file%d is %v, %v", k, c.Entry, err)
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
		i := imageOf(t, &registry.Manifest{Layers: []v1.Descriptor{layer("a", one), layer("b", two)}})
		var walk func(d node.Directory)
		walk = func(d node.Directory) {
			l, err := d.List(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for k, name := range l.Names {
				if !safeName(name) || k > 0 && l.Names[k-1] >= name {
					t.Errorf("%q and %q give the names %q", one, two, l.Names)
				}
				found, err := d.Lookup(context.Background(), name)
				if err != nil {
					t.Errorf("%q and %q: %q is listed, and isn't found: %v", one, two, name, err)
					continue
				}
				switch e := found.Entry.(type) {
				case node.Directory:
					walk(e)
				case *link:
					if to := path.Join("/"+d.Path(), e.to); !strings.HasPrefix(to, "/"+i.path+"/blobs/") {
						t.Errorf("%q and %q: %s leads to %s", one, two, name, to)
					}
				}
			}
		}
		walk(&shortcutsDir{place: i.at(filesName), image: i, in: filesName})
	})
}
