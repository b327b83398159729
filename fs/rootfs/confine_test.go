package rootfs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// The tree of TestConfine. Its layers don't matter.
var confineTree = []item{
	"etc/passwd=x", "usr/bin/awk=x", "usr/lib/y=x", "a/b/c/d/f=x",
	"top->../../..", "a/b/top->../../../../..", "a/b/abs->/usr/lib", "a/b/rel->../..", "a/b/c/up->..", "a/empty->/", "deep->a/b/c/d",
	"file=x", "a/file=x", "loop->loop", "a/b/l1->l2", "a/b/l2->l1", "dangling->none/x", "a/dangling->../none",
}

func TestConfine(t *testing.T) {
	tree := NewTree(newImage(t, confineTree), TreeOptions{})
	for _, c := range []struct{ dir, target, want string }{
		// Nothing to change: byte for byte.
		{"", "x", "x"},
		{"", "a//b", "a//b"},
		{"", "./x/", "./x/"},
		{"usr/bin", "../lib/x", "../lib/x"},
		{"usr/bin", ".././/../etc/./passwd/", ".././/../etc/./passwd/"},
		{"", "", ""},
		{"usr", "...", "..."},
		{"usr", "..x/y..", "..x/y.."},

		// Absolute targets.
		{"usr/bin", "/etc/alternatives/awk", "../../etc/alternatives/awk"},
		{"usr/bin", "/usr/lib/y", "../../usr/lib/y"},
		{"", "/etc/passwd", "etc/passwd"},
		{"usr", "//etc///passwd/", "../etc///passwd/"},
		{"", "/", "."},
		{"usr", "/", ".."},
		{"usr/bin", "///", "../.."},
		{"usr/bin", "/.", "../../."},
		{"usr/bin", "/../../x", "../../x"},
		{"usr/bin", "/..", "../.."},
		{"usr/bin", "/../", "../.."},
		{"", "/..", "."},
		{"", "/./../x", "x"},

		// Climbing ones.
		{"", "..", "."},
		{"", "../..", "."},
		{"", "../x", "x"},
		{"usr", "../../../../etc/passwd", "../etc/passwd"},
		{"usr/bin", "../../..", "../.."},
		{"usr/bin", ".././/../..//x/", "../../x/"},

		// A ".." behind a directory that is real needs no change, unless it climbs.
		{"usr", "bin/../lib/y", "bin/../lib/y"},
		{"usr", "/usr/bin/../lib/y", "../usr/bin/../lib/y"},
		{"usr", "bin/../../../etc/passwd", "../etc/passwd"},
		{"", "a/b/../../../../etc", "etc"},
		{"usr", "lib/../../../..", ".."},

		// A ".." behind a symlink: from where it leads.
		{"", "top/../etc", "etc"},
		{"a/b", "top/../x", "../../x"},
		{"a/b", "abs/../bin/awk", "abs/../bin/awk"},
		{"a/b", "abs/../../../../etc", "../../etc"},
		{"a/b", "rel/../etc", "../../etc"},
		{"a/b/c", "up/../b", "up/../b"},
		{"a/b/c", "up/../../../b", "../../../b"},
		{"", "deep/../../../x", "deep/../../../x"},
		{"", "deep/../../../../../x", "x"},
		{"a", "empty/../x/", "../x/"},
		{"a", "/top/../top/../x", "../x"},

		// Targets that lead nowhere still do, and none climbs out.
		{"", "none/../x", "none/../x"},
		{"a", "none/../../etc", "none/../../etc"},
		{"", "none/../../x", "none/../x"},
		{"a", "none/../../../../etc/passwd", "none/../../etc/passwd"},
		{"a", "/none/../../x", "../none/../x"},
		{"", "file/../x", "file/../x"},
		{"", "file/..", "file/.."},
		{"", "file/../../x", "file/../x"},
		{"", "loop/../x", "loop/x"},
		{"", "loop/..", "loop/"},
		{"a/b", "l1/../../../x", "l1/x"},
		{"", "dangling/../../x", "dangling/x"},
		{"a", "dangling/../y/../z", "dangling/y/z"},
		{"a", "../../none/../../x", "../none/../x"},
		{"", "none/../top/../x", "none/../top/x"},
		{"", "none/y/../../usr/../a/../../x", "none/y/../../usr/../a/../x"},
	} {
		got, err := dirAt(t, tree, c.dir).Confine(t.Context(), c.target)
		if err != nil || got != c.want {
			t.Errorf("in /%s: %q is %q, %v; want %q", c.dir, c.target, got, err, c.want)
		}
	}
}

func TestTargetIsConfinedUnlessVerbatim(t *testing.T) {
	m := newImage(t, []item{"usr/bin/awk->/etc/../../x", "usr/bin/f=x"}, []item{"usr/s=>usr/bin/awk"})
	for _, c := range []struct {
		opt       TreeOptions
		dir, name string
		want      string
	}{
		{TreeOptions{}, "usr/bin", "awk", "../../etc/../x"},
		{TreeOptions{}, "usr", "s", "../etc/../x"},
		{TreeOptions{Verbatim: true}, "usr/bin", "awk", "/etc/../../x"},
		{TreeOptions{Raw: true}, "usr/bin", "awk", "../../etc/../x"},
		{TreeOptions{Raw: true, Verbatim: true}, "usr/bin", "awk", "/etc/../../x"},
	} {
		d := dirAt(t, NewTree(m, c.opt), c.dir)
		f, ok, err := d.Lookup(t.Context(), c.name)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		if got, err := d.Target(t.Context(), f); err != nil || got != c.want {
			t.Errorf("%+v: %s/%s is %q, %v; want %q", c.opt, c.dir, c.name, got, err, c.want)
		}
	}
	tree := NewTree(m, TreeOptions{})
	for _, path := range []string{"usr/bin/f", "usr/bin"} {
		f, _, err := findPath(tree.Root(), path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tree.Root().Target(t.Context(), f); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("target of %s: %v", path, err)
		}
	}
}

// A target that can't be shown is an error, never another target.
func TestTargetsThatAreTooLong(t *testing.T) {
	deep := strings.Repeat("d/", 100)
	tree := NewTree(newImage(t, []item{item(deep)}), TreeOptions{})
	d := dirAt(t, tree, deep)
	for _, c := range []struct {
		target string
		want   error
	}{
		{"/" + strings.Repeat("x", 3795), nil},
		{"/" + strings.Repeat("x", 3796), ErrTargetTooLong},
		{strings.Repeat("x", 4095), nil},
		{strings.Repeat("x", 4096), ErrTargetTooLong},
		{strings.Repeat("/", 4095), nil},
	} {
		got, err := d.Confine(t.Context(), c.target)
		if !errors.Is(err, c.want) || len(got) > 4095 {
			t.Errorf("%d bytes: %v", len(c.target), err)
		}
	}
}

// Hostile targets. Without bounds, some of them would take ages.
func TestConfineIsBounded(t *testing.T) {
	entries := []item{"real/", "c0->/"}
	for i := range 10_000 {
		entries = append(entries, item(fmt.Sprintf("s%d->s%d", i, i+1)), item(fmt.Sprintf("c%d->c%d", i+1, i)))
	}
	var wide strings.Builder
	for i := range 40 {
		// Each leads 80 times through the next: 80 to the power of 39 steps, were it not for
		// the limit of 40 symlinks.
		entries = append(entries, item(fmt.Sprintf("b%d->%s", i, strings.Repeat(fmt.Sprintf("b%d/", i+1), 80))))
		entries = append(entries, item(fmt.Sprintf("w%d->%s", i, strings.Repeat("real/../", 511))))
		fmt.Fprintf(&wide, "w%d/../", i)
	}
	root := NewTree(newImage(t, entries), TreeOptions{}).Root()
	for _, c := range []struct {
		name, target, want string
		err                error
	}{
		{"a chain of 10,000", "s0/../x", "s0/x", nil},
		{"a chain of 39 to the root, and the symlink itself", "c38/../x", "x", nil},
		{"one more", "c39/../x", "c39/x", nil},
		{"4095 bytes through a directory", strings.Repeat("real/../", 511) + "../x", "x", nil},
		{"4095 bytes that climb", strings.Repeat("../", 1365), ".", nil},
		{"symlinks that lead through the next many times", "b0/../x", "b0/x", nil},
		{"40 symlinks of 4095 bytes", wide.String(), "", ErrTargetLookups},
	} {
		got, err := root.Confine(t.Context(), c.target)
		if !errors.Is(err, c.err) || got != c.want {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

func TestHardLinksFromLayerToLayerAreBounded(t *testing.T) {
	// Each layer's link leads three times through the one of the layer below: 3 to the power of
	// 200 steps.
	layers := [][]item{{"b->."}}
	for range 100 {
		layers = append(layers, []item{"a=>b/b/b"}, []item{"b=>a/a/a"})
	}
	var notes []string
	tree := NewTree(newImage(t, layers...), TreeOptions{Note: func(n Note) { notes = append(notes, n.Name+": "+n.Why) }})
	if f, ok, err := tree.Root().Lookup(t.Context(), "b"); ok || err != nil {
		t.Error(f, ok, err)
	}
	if all, err := tree.Root().List(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%+v, %v", all, err)
	}
	slices.Sort(notes)
	want := "it is a hard link whose target takes more than 4096 lookups to find"
	if !slices.Equal(notes, []string{"a: " + want, "b: " + want, "b: " + want}) {
		t.Errorf("%q", notes)
	}
}

// FuzzConfine compares where the kernel is led by the targets that are shown with where a chroot
// leads the targets of the archive.
func FuzzConfine(f *testing.F) {
	for seed := range byte(200) {
		f.Add(noise(seed, 100))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		layers := (*feed)(&b).layers(2)
		m := newImage(t, layers...)
		root, tree := modelImage(t, m), NewTree(m, TreeOptions{})
		memo := map[string]string{}
		shown := func(in place, name string, s *model) string {
			key := in.String() + name
			if to, ok := memo[key]; ok {
				return to
			}
			d := dirAt(t, tree, in.String())
			l, ok, err := d.Lookup(t.Context(), name)
			if !ok || err != nil {
				t.Fatalf("%s: %v, %v", key, ok, err)
			}
			to, err := d.Target(t.Context(), l)
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			memo[key] = to
			return to
		}
		for _, l := range links(nil, root) {
			in, name, s := l[:len(l)-1], l[len(l)-1].name, l[len(l)-1].node
			what := fmt.Sprintf("layers %q: %s%s, which is %q, shown as %q", layers, in, name, s.path, shown(in, name, s))
			chroot := kernel{root: root}
			want, wantErr := chroot.resolve(in, name, true)
			mounted := kernel{root: root, shown: shown}
			got, gotErr := mounted.resolve(in, name, true)
			if wantErr == syscall.ELOOP && gotErr != syscall.ELOOP {
				// Names that a rewritten target leaves out were symlinks among the 40.
				want, wantErr = (&kernel{root: root, limit: 300}).resolve(in, name, true)
			}
			if mounted.left || gotErr != wantErr || got.String() != want.String() {
				t.Fatalf("%s: leads to %s, %v; want %s, %v", what, got, gotErr, want, wantErr)
			}
			patient := kernel{root: root, shown: shown, limit: 300, invent: true}
			if patient.resolve(in, name, true); patient.left {
				t.Fatalf("%s: would lead out if what is missing were there", what)
			}
		}
	})
}

// links gives the places of all symlinks.
func links(at place, m *model) []place {
	var all []place
	for name, c := range m.names {
		p := append(slices.Clip(at), step{name, c})
		if isSymlink(c.mode) {
			all = append(all, p)
		}
		all = append(all, links(p, c)...)
	}
	return all
}
