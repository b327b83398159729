package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each row is a promise about merging: layers, the lowest first, and the whole tree that comes of
// them. Each row holds too with the entries of each layer in reverse order.
func TestMerging(t *testing.T) {
	long := strings.Repeat("n", 255)
	for _, c := range []struct {
		name   string
		layers [][]item
		want   []string
		raw    bool
	}{
		{"no layers", nil, nil, false},
		{"empty layers", [][]item{{}, {}, {}}, nil, false},
		{"an upper file replaces a lower one", [][]item{{"a=0"}, {"a=1"}}, []string{"a=1 @1"}, false},
		{"directories merge, the uppermost entry describes", [][]item{{"d/ 0700", "d/x=0"}, {"d/ 0711", "d/y=1"}},
			[]string{"d/ 0711 @1", "d/x=0 @0", "d/y=1 @1"}, false},
		{"a parent that no entry names has the lower layer's attributes", [][]item{{"d/ 0700", "d/x=0"}, {"d/y=1"}},
			[]string{"d/ 0700 @0", "d/x=0 @0", "d/y=1 @1"}, false},
		{"a parent that no layer describes", [][]item{{"d/x=0"}, {"d/y=1"}},
			[]string{"d/ ?", "d/x=0 @0", "d/y=1 @1"}, false},
		{"a whiteout hides a file below", [][]item{{"a=0", "b=0"}, {".wh.a"}}, []string{"b=0 @0"}, false},
		{"a whiteout hides a directory below with all that is in it", [][]item{{"d/", "d/e/x=0", "f=0"}, {".wh.d"}, {}}, []string{"f=0 @0"}, false},
		{"a whiteout and its name in one layer: the name stays", [][]item{{"x=0"}, {".wh.x", "x=1"}}, []string{"x=1 @1"}, false},
		{"a whiteout and its directory in one layer: this layer's shows alone", [][]item{{"d/", "d/a=0"}, {".wh.d", "d/ 0700", "d/b=1"}},
			[]string{"d/ 0700 @1", "d/b=1 @1"}, false},
		{"a whiteout and its undescribed directory: nothing of the layers below describes it", [][]item{{"d/ 0700", "d/a=0"}, {".wh.d", "d/b=1"}},
			[]string{"d/ ?", "d/b=1 @1"}, false},
		{"a name comes back above its whiteout", [][]item{{"x=0", "d/a=0"}, {".wh.x", ".wh.d"}, {"x=2", "d/b=2"}},
			[]string{"d/ ?", "d/b=2 @2", "x=2 @2"}, false},
		{"an opaque directory hides lower layers only", [][]item{{"d/ 0700", "d/a=0", "d/e/x=0"}, {"d/b=1", "d/.wh..wh..opq", "d/e/y=1"}},
			[]string{"d/ ?", "d/b=1 @1", "d/e/ ?", "d/e/y=1 @1"}, false},
		{"an opaque directory below others", [][]item{{"d/a=0"}, {"d/.wh..wh..opq", "d/b=1"}, {"d/c=2"}},
			[]string{"d/ ?", "d/b=1 @1", "d/c=2 @2"}, false},
		{"an opaque root hides all below", [][]item{{"a=0", "d/x=0"}, {".wh..wh..opq", "d/y=1"}, {"c=2"}},
			[]string{"c=2 @2", "d/ ?", "d/y=1 @1"}, false},
		{"whiteouts of any type", [][]item{{"a=0", "b=0", "c=0", "d/x=0", "e=0"}, {"f=1", ".wh.a=text", ".wh.b->nowhere", ".wh.c/", "d/.wh..wh..opq/", ".wh.e=>f"}},
			[]string{"d/ ?", "f=1 @1"}, false},
		{"whiteouts of what isn't there, and below what is whited out", [][]item{{"d/x=0"}, {".wh.none", ".wh.d", "n/.wh.x"}},
			[]string{"n/ ?"}, false},
		{"a whiteout's prefix alone is nothing", [][]item{{"a=0"}, {".wh.", ".wh..", ".wh..."}}, []string{"a=0 @0"}, false},
		{"names of AUFS are hidden, and all that is in them", [][]item{{".wh..wh.plnk/x=0", "a=0"}, {".wh..wh.aufs", ".wh..wh.orph/y=1"}}, []string{"a=0 @0"}, false},
		{"a whiteout hides no other name", [][]item{{"a.b=0", "a=0", "aa=0", "A=0"}, {".wh.a"}}, []string{"A=0 @0", "a.b=0 @0", "aa=0 @0"}, false},
		{"names around the whiteouts in byte order", [][]item{{"!=0", ".a=0", ".wh=0", ".wi=0", "z=0"}, {".wh.z", ".wh..a", ".wg=1", ".x=1"}},
			[]string{"!=0 @0", ".wg=1 @1", ".wh=0 @0", ".wi=0 @0", ".x=1 @1"}, false},
		{"devices 0,0 are shown, and hide nothing", [][]item{{"a=0"}, {"b%0,0"}}, []string{"a=0 @0", "b%0,0 @1"}, false},
		{"a file replaces a directory, for good", [][]item{{"d/x=0"}, {"d=1"}, {"d/y=2"}}, []string{"d/ ?", "d/y=2 @2"}, false},
		{"a directory shadows a symlink below", [][]item{{"usr/lib/x=0", "lib->usr/lib"}, {"lib/y=1"}},
			[]string{"lib/ ?", "lib/y=1 @1", "usr/ ?", "usr/lib/ ?", "usr/lib/x=0 @0"}, false},
		{"a symlink replaces a directory", [][]item{{"usr/", "lib/x=0"}, {"lib->usr/lib"}}, []string{"lib->usr/lib @1", "usr/ @0"}, false},
		{"a directory that a whiteout alone implies", [][]item{{}, {"q/.wh.x"}}, []string{"q/ ?"}, false},
		{"names are bytes", [][]item{{"\xff/x=0", "\xfe=0", "a\nb=0", "a:b=0", `a\b=0`}, {".wh.\xfe", "\xff/y=1", "é=1", ".wh.a\nb"}},
			[]string{"a:b=0 @0", `a\b=0 @0`, "é=1 @1", "\xff/ ?", "\xff/x=0 @0", "\xff/y=1 @1"}, false},
		{"names of 255 bytes, which no whiteout can hide", [][]item{{item(long + "=0")}, {item(".wh." + long[4:])}}, []string{long + "=0 @0"}, false},
		{"devices and fifos", [][]item{{"f|", "n%1,3 0666"}}, []string{"f| @0", "n%1,3 0666 @0"}, false},
		{"hard links are bound to the file", [][]item{{"a=0", "b=>a"}, {"a=1"}}, []string{"a=1 @1", "b=0 @0"}, false},
		{"a hard link into a lower layer", [][]item{{"d/a=0 0600"}, {"b=>d/a"}, {".wh.d"}}, []string{"b=0 0600 @0"}, false},
		{"a hard link into lower layers, from layer to layer", [][]item{{"a=0"}, {"b=>a", ".wh.a"}, {"c=>b"}, {"b=3"}}, []string{"b=3 @3", "c=0 @0"}, false},
		{"a hard link finds its target through symlinks below, inside the root", [][]item{{"usr/lib/a=0", "lib->/../usr/lib", "usr/l->../../lib"}, {"b=>usr/l/a"}},
			[]string{"b=0 @0", "lib->usr/lib @0", "usr/ ?", "usr/l->../lib @0", "usr/lib/ ?", "usr/lib/a=0 @0"}, false},
		{"a hard link to a symlink below is the symlink, relative to its own directory", [][]item{{"s->/d/a", "d/a=0"}, {"d/e/b=>s"}},
			[]string{"d/ ?", "d/a=0 @0", "d/e/ ?", "d/e/b->../../d/a @0", "s->d/a @0"}, false},
		{"a hard link to a directory below, or to nothing, isn't there and hides", [][]item{{"d/", "a=0", "b=0", "x=0"}, {"a=>d", "b=>none/x", "c=>x/y"}},
			[]string{"d/ @0", "x=0 @0"}, false},
		{"a hard link sees the layers below as they are without its own", [][]item{{"a=0"}, {".wh.a", "b=>a"}}, []string{"b=0 @0"}, false},
		{"a hard link sees what a layer below hid", [][]item{{"a=0", "d/x=0"}, {".wh.a", "d/.wh..wh..opq"}, {"b=>a", "c=>d/x"}}, []string{"d/ ?"}, false},
		{"a directory stands on a hard link of a lower layer as on a file", [][]item{{"a=0", "b/x=0"}, {"b=>a"}, {"b/y=2"}}, []string{"a=0 @0", "b/ ?", "b/y=2 @2"}, false},
		{"raw: whiteouts are files, hard links into lower layers aren't there", [][]item{{"a=0", ".wh.a", "d/.wh..wh..opq", "d/x=0", ".wh.", "b=>none", ".wh..wh.p/y=0"}},
			[]string{".wh.= @0", ".wh..wh.p/ ?", ".wh..wh.p/y=0 @0", ".wh.a= @0", "a=0 @0", "d/ ?", "d/.wh..wh..opq= @0", "d/x=0 @0"}, true},
	} {
		for _, order := range []string{"", " in reverse order"} {
			t.Run(c.name+order, func(t *testing.T) {
				var layers [][]item
				for _, l := range c.layers {
					l = slices.Clone(l)
					if order != "" {
						slices.Reverse(l)
					}
					layers = append(layers, l)
				}
				m := newImage(t, layers...)
				for _, byLookup := range []bool{false, true} {
					got, err := m.walk(NewTree(m, TreeOptions{Raw: c.raw}).Root(), byLookup)
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(got, c.want) {
						t.Errorf("by Lookup %v:\n got %q\nwant %q", byLookup, got, c.want)
					}
				}
			})
		}
	}
}

func TestNamesThatAreNotThere(t *testing.T) {
	m := newImage(t, []item{"d/x=0", "gone=0", ".wh.y"}, []item{".wh.gone", ".wh..wh.plnk/z=1"})
	tree := NewTree(m, TreeOptions{})
	for _, name := range []string{"", ".", "..", "/", "d/x", "d\x00", ".wh.gone", ".wh.y", ".wh..wh.plnk", ".wh.", "gone", "none", strings.Repeat("n", 300)} {
		if f, ok, err := tree.Root().Lookup(t.Context(), name); ok || err != nil {
			t.Errorf("%q: %+v, %v, %v", name, f, ok, err)
		}
	}
}

func TestRootIsNeverDescribed(t *testing.T) {
	m := newImage(t, []item{"./ 0700"})
	root := NewTree(m, TreeOptions{}).Root()
	a, layer, err := root.Attr(t.Context())
	if err != nil || a.Described || layer != -1 || a.Mode != 0o040000 {
		t.Errorf("%+v, %d, %v", a, layer, err)
	}
	if len(m.asked) > 0 {
		t.Errorf("layers %v were asked for", m.asked)
	}
	if root.Path() != "" {
		t.Errorf("path %q", root.Path())
	}
}

func TestWhatIsNotShownIsNoted(t *testing.T) {
	for _, c := range []struct {
		raw  bool
		want []string
	}{
		{false, []string{".wh.: it is a whiteout that names nothing", `d/l: it is a hard link to "none", which no layer below has as a file`}},
		{true, []string{`d/l: it is a hard link to "none", which this archive doesn't have`}},
	} {
		var notes []string
		m := newImage(t, []item{".wh.", "d/l=>none"})
		tree := NewTree(m, TreeOptions{Raw: c.raw, Note: func(n Note) { notes = append(notes, n.Name+": "+n.Why) }})
		if _, err := m.walk(tree.Root(), false); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(notes, c.want) {
			t.Errorf("raw %v: %q", c.raw, notes)
		}
		notes = nil
		if _, ok, err := findPath(tree.Root(), "d/l"); ok || err != nil {
			t.Error(ok, err)
		}
		if !slices.Equal(notes, c.want[len(c.want)-1:]) {
			t.Errorf("raw %v, by Lookup: %q", c.raw, notes)
		}
	}
}

// Attributes are those of the layer that decides: to the nanosecond, and whatever is below.
func TestAttributesOfTheDecidingLayer(t *testing.T) {
	at := func(e ent, mode int64, id int, mtime time.Time) ent {
		return e.with(func(h *tar.Header) {
			h.Mode, h.Uid, h.Gid, h.ModTime, h.Format = mode, id, id+1, mtime, tar.FormatPAX
		})
	}
	early, late := time.Unix(-5, 123456789), time.Unix(1e10, 1)
	m := &image{layers: []*layer{
		layerOf(t, at(dir("d/"), 0o1777, 1, early), at(file("d/f", "text"), 0o4755, 5_000_000, early), at(dir("e/"), 0o700, 3, early)),
		layerOf(t, at(dir("d/"), 0o2750, 7, late), link("h", "d/f"), file("e/x", "")),
	}}
	tree := NewTree(m, TreeOptions{})
	for path, want := range map[string]Attr{
		"d":   {Mode: 0o042750, UID: 7, GID: 8, Mtime: late, Nlink: 1, Described: true},
		"e":   {Mode: 0o040700, UID: 3, GID: 4, Mtime: early, Nlink: 1, Described: true},
		"d/f": {Mode: 0o104755, UID: 5_000_000, GID: 5_000_001, Size: 4, Mtime: early, Nlink: 1, Described: true},
		"h":   {Mode: 0o104755, UID: 5_000_000, GID: 5_000_001, Size: 4, Mtime: early, Nlink: 1, Described: true},
	} {
		f, ok, err := findPath(tree.Root(), path)
		if !ok || err != nil {
			t.Fatal(path, ok, err)
		}
		got := f.Attr
		if f.Dir != nil {
			if got, _, err = f.Dir.Attr(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if !got.Mtime.Equal(want.Mtime) {
			t.Errorf("%s: mtime %v, want %v", path, got.Mtime, want.Mtime)
		}
		if got.Mtime = want.Mtime; got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}

// A damaged index is said of its layer, so that it can be made anew.
func TestErrorsNameTheLayer(t *testing.T) {
	m := newImage(t, []item{"d/x=0"}, []item{"d/y=1"})
	m.layers[0].Index = damaged(t, m.layers[0].archive)
	d := dirAt(t, NewTree(m, TreeOptions{}), "d")
	_, _, lookup := d.Lookup(t.Context(), "x")
	_, list := d.List(t.Context())
	for _, err := range []error{lookup, list} {
		if e, ok := errors.AsType[*LayerError](err); !ok || e.Layer != 0 || !errors.Is(err, ErrIndex) {
			t.Error(err)
		}
	}
}

// damaged gives an index of an archive whose names can't be read.
func damaged(t *testing.T, raw []byte) *Index {
	b, err := encoded(bytes.NewReader(raw), raw)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Clone(b)
	x, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] = 0xff
	}
	return x
}

func TestErrorsOfLayersPassThrough(t *testing.T) {
	m := newImage(t, []item{"d/ 0700", "d/x=0", "d/l->x/../y"}, []item{"d/y=1", "h=>d/x"})
	m.fetch = func(_ context.Context, n int) error {
		if n == 0 {
			return errFetch
		}
		return nil
	}
	tree := NewTree(m, TreeOptions{})
	d := dirAt(t, tree, "d")
	ctx := t.Context()
	_, _, lookup := d.Lookup(ctx, "x")
	_, _, link := tree.Root().Lookup(ctx, "h")
	_, list := d.List(ctx)
	_, rootList := tree.Root().List(ctx)
	_, _, attr := d.Attr(ctx)
	_, confine := d.Confine(ctx, "x/../y")
	for i, err := range []error{lookup, link, list, rootList, attr, confine} {
		if e, ok := errors.AsType[*LayerError](err); !ok || e.Layer != 0 || !errors.Is(err, errFetch) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if _, ok, err := d.Lookup(ctx, "y"); !ok || err != nil {
		t.Error("the layer above decides:", ok, err)
	}
	m.fetch = nil // the registry is back
	if got, err := d.List(ctx); err != nil || len(got) != 3 {
		t.Error(got, err)
	}
}

// No step is quadratic. The calls of Layers are counted; BenchmarkList tells the time of a listing.
func TestManyLayersAndNames(t *testing.T) {
	const many = 30_000
	var entries []item
	for i := range many {
		entries = append(entries, item(fmt.Sprintf("many/f%d=", i)))
	}
	large, empty, hider := newLayer(t, entries...), newLayer(t), newLayer(t, "many/.wh.f5", "many/g=")
	hiders := []*layer{large}
	for i := range 254 {
		hiders = append(hiders, newLayer(t, item(fmt.Sprintf("many/.wh.f%d", i)), item(fmt.Sprintf("many/f%d=", i))))
	}
	for _, c := range []struct {
		name   string
		layers []*layer
		want   int
	}{
		{"30,000 names", []*layer{large}, many},
		{"one layer 60 times", slices.Repeat([]*layer{large}, 60), many},
		{"255 layers, most of them empty", append(slices.Repeat([]*layer{empty}, 254), large), many},
		{"254 layers above, the same one each time", append([]*layer{large}, slices.Repeat([]*layer{hider}, 254)...), many},
		{"254 layers above, each another one", hiders, many},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &image{layers: c.layers}
			calls := 0
			m.fetch = func(context.Context, int) error { calls++; return nil }
			all, err := dirAt(t, NewTree(m, TreeOptions{}), "many").List(t.Context())
			if err != nil || len(all) != c.want {
				t.Errorf("%d names, want %d; %v", len(all), c.want, err)
			}
			if calls > 5*len(c.layers) {
				t.Errorf("a listing asks %d times for %d layers", calls, len(c.layers))
			}
		})
	}
}
