package rootfs

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// Each row says which layers are asked for, in which order, and that no other one is.
func TestOnlyDecidingLayersAreAsked(t *testing.T) {
	lookup := func(path string) func(context.Context, *Tree) error {
		return func(_ context.Context, tree *Tree) error {
			_, _, err := findPath(tree.Root(), path)
			return err
		}
	}
	list := func(path string) func(context.Context, *Tree) error {
		return func(ctx context.Context, tree *Tree) error {
			f, _, err := findPath(tree.Root(), path)
			if err == nil {
				_, err = f.Dir.List(ctx)
			}
			return err
		}
	}
	attr := func(path string) func(context.Context, *Tree) error {
		return func(ctx context.Context, tree *Tree) error {
			f, _, err := findPath(tree.Root(), path)
			if err == nil {
				_, _, err = f.Dir.Attr(ctx)
			}
			return err
		}
	}
	target := func(path, link string) func(context.Context, *Tree) error {
		return func(ctx context.Context, tree *Tree) error {
			f, _, err := findPath(tree.Root(), path)
			if err != nil {
				return err
			}
			l, _, err := f.Dir.Lookup(ctx, link)
			if err == nil {
				_, err = f.Dir.Target(ctx, l)
			}
			return err
		}
	}
	layers := [][]item{
		{"etc/passwd=0", "opt/a/x=0", "usr/ 0700", "usr/bin/sh=0", "low/f=0", "gone/f=0", "two/x=0", "file/x=0"},
		{"opt/ 0700", "opt/a/y=1", "two/ 0711", "low/ 0711", "v/w/ 0700", "v/w/f=1", "elsewhere=1"},
		{"opt/.wh..wh..opq", "opt/b=2", ".wh.gone", "two/y=2", "l->/etc/x", "s->usr/../etc", "top->/..", "t->top/../etc", "usr/f=2", "file=2"},
		{"opt/c=3", "h=>v/w/f", "etc/ 0700", "etc/x=3", "two/z=3", "m=>none"},
	}
	for _, c := range []struct {
		name  string
		do    func(context.Context, *Tree) error
		asked []int
	}{
		{"a file of the top layer", lookup("opt/c"), []int{3}},
		{"a directory of the top layer, its attributes too", attr("etc"), []int{3}},
		{"a file of the layer below", lookup("l"), []int{3, 2}},
		{"a file of the base, in directories above", lookup("etc/passwd"), []int{3, 2, 1, 0}},
		{"a directory that upper layers have: its lookup", lookup("two"), []int{3}},
		{"its attributes", attr("two"), []int{3, 2, 1}},
		{"its listing", list("two"), []int{3, 2, 1, 0}},
		{"what an opaque directory hides", lookup("opt/a/x"), []int{3, 2}},
		{"the listing of an opaque directory", list("opt"), []int{3, 2}},
		{"the attributes of an opaque directory that nothing describes", attr("opt"), []int{3, 2}},
		{"what a whiteout hides", lookup("gone"), []int{3, 2}},
		{"what is below what a whiteout hides", lookup("gone/f"), []int{3, 2}},
		{"below a file that hides a directory", lookup("file/x"), []int{3, 2}},
		{"a name that no layer has", lookup("none"), []int{3, 2, 1, 0}},
		{"a hard link into a lower layer", lookup("h"), []int{3, 2, 1}},
		{"a hard link to nothing", lookup("m"), []int{3, 2, 1, 0}},
		{"a symlink without a '..'", target("", "l"), []int{3, 2}},
		{"a symlink with a '..' behind a name that the layers seen decide", target("", "s"), []int{3, 2}},
		{"a symlink with a '..' behind a symlink", target("", "t"), []int{3, 2}},
		{"the listing of the root", list(""), []int{3, 2, 1, 0}},
		{"the root's attributes", attr(""), nil},
		{"names that can't be", lookup(".wh.x"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newImage(t, layers...)
			tree := NewTree(m, TreeOptions{})
			for range 2 { // the second time, nothing more is asked for
				if err := c.do(t.Context(), tree); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(m.asked, c.asked) {
					t.Fatalf("layers %v, want %v", m.asked, c.asked)
				}
			}
		})
	}
}

func TestRootListingTellsLayersAhead(t *testing.T) {
	m := newImage(t, []item{"a=0", "d/x=0"}, []item{"b=1", "d/x=1"}, []item{"d/y=2"})
	tree := NewTree(m, TreeOptions{})
	root := tree.Root()
	if _, _, err := findPath(root, "d/y"); err != nil {
		t.Fatal(err)
	}
	if _, err := dirAt(t, tree, "d").List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(m.ahead) > 0 {
		t.Errorf("layers from %v down were announced for a directory", m.ahead)
	}
	root = NewTree(m, TreeOptions{}).Root()
	if _, ok, err := root.Lookup(t.Context(), "d"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	for range 2 {
		if _, err := root.List(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(m.ahead, []int{1}) {
		t.Errorf("layers from %v down were announced, want from 1", m.ahead)
	}
}

func TestListedDirectoriesAskForNothingMore(t *testing.T) {
	m := newImage(t, []item{"d/e/f/x=0", "d/ 0700"}, []item{"d/e/f/y=1"}, []item{"d/e/z=2"})
	var walk func(d *Dir)
	walk = func(d *Dir) {
		all, err := d.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.Dir == nil {
				continue
			}
			if _, _, ok := f.Dir.Known(); !ok {
				t.Errorf("%s: its attributes aren't known", f.Dir.Path())
			}
			if parts, next := f.Dir.state(); next != -1 || len(parts) == 0 {
				t.Errorf("%s: parts %v, next layer %d", f.Dir.Path(), parts, next)
			}
			walk(f.Dir)
		}
	}
	walk(NewTree(m, TreeOptions{}).Root())
}

func TestKnownAsksForNothing(t *testing.T) {
	m := newImage(t, []item{"d/ 0700", "e/x=0"}, []item{"d/x=1", "u/.wh..wh..opq", "t/ 0711"})
	tree := NewTree(m, TreeOptions{})
	for path, want := range map[string]bool{"t": true, "u": true, "d": false} {
		d := dirAt(t, tree, path)
		if _, _, ok := d.Known(); ok != want {
			t.Errorf("%s: known is %v", path, ok)
		}
		if !slices.Equal(m.asked, []int{1}) {
			t.Fatalf("layers %v were asked for", m.asked)
		}
	}
	d := dirAt(t, tree, "d")
	a, layer, err := d.Attr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, known, ok := d.Known()
	if !ok || known != layer || layer != 0 || a != b || a.Mode != 0o040700 {
		t.Errorf("%+v of %d, known %+v of %d", a, layer, b, known)
	}
}

func TestLayerThatIsThereAgainContributesNothing(t *testing.T) {
	m := newImage(t, []item{"a=0"}, []item{"d/x=1", ".wh.a"}, []item{"d/y=2", ".wh.d"})
	m.layers = append(slices.Repeat(m.layers, 60), m.layers[1])
	tree := NewTree(m, TreeOptions{})
	got, err := m.walk(tree.Root(), false)
	if err != nil || !slices.Equal(got, []string{"d/ ?", "d/x=1 @180", "d/y=2 @179"}) {
		t.Errorf("%q, %v", got, err)
	}
	if parts, _ := tree.Root().state(); len(parts) != 3 {
		t.Errorf("%d parts", len(parts))
	}
}

// A Dir forgets nothing: what it looked into once isn't asked for again.
func TestDirKeepsWhatItLearnt(t *testing.T) {
	var layers [][]item
	for i := range 20 {
		layers = append(layers, []item{"d/x=", item(fmt.Sprintf("y%d=", i))}, []item{item(fmt.Sprintf("z%d=", i))})
	}
	m := newImage(t, layers...)
	d := dirAt(t, NewTree(m, TreeOptions{}), "d")
	if _, ok, err := d.Lookup(t.Context(), "none"); ok || err != nil {
		t.Fatal(ok, err)
	}
	parts, next := d.state()
	if len(parts) != 20 || next != -1 {
		t.Fatalf("%d parts, next layer %d", len(parts), next)
	}
	var again []int
	m.fetch = func(_ context.Context, n int) error { again = append(again, n); return nil }
	if _, ok, err := d.Lookup(t.Context(), "none"); ok || err != nil {
		t.Fatal(ok, err)
	}
	if len(again) != 20 {
		t.Errorf("a lookup in 20 parts asks for %d layers", len(again))
	}
}

// Some callers are interrupted at any moment. All others get what one caller alone gets.
func TestConcurrentUse(t *testing.T) {
	var layers [][]item
	for i := range 8 {
		l := []item{item(fmt.Sprintf("a/b/c/f%d=x", i)), item(fmt.Sprintf("a/b/g%d=x", i)), "a/b/l->c/../../../a", item(fmt.Sprintf("a/h%d=>a/b/c/f%d", i, i-1))}
		if i == 5 {
			l = append(l, "a/b/c/.wh..wh..opq", "a/b/.wh.g2", "a/ 0700")
		}
		layers = append(layers, l)
	}
	m := newImage(t, layers...)
	want, err := m.walk(NewTree(m, TreeOptions{}).Root(), false)
	if err != nil {
		t.Fatal(err)
	}
	m.fetch = func(ctx context.Context, _ int) error { runtime.Gosched(); return ctx.Err() }
	for range 20 {
		tree := NewTree(m, TreeOptions{})
		d := dirAt(t, tree, "a/b")
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				if got, err := m.walk(tree.Root(), i%2 == 0); err != nil || !slices.Equal(got, want) {
					t.Errorf("%q, %v", got, err)
				}
			})
			all.Go(func() {
				for j := range 8 {
					_, ok, err := d.Lookup(t.Context(), fmt.Sprintf("g%d", (i+j)%8))
					if err != nil || ok != ((i+j)%8 != 2) {
						t.Error(ok, err)
					}
				}
			})
			all.Go(func() {
				if _, err := d.List(ctx); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				cancel()
			})
		}
		all.Wait()
		cancel()
	}
}

// Two callers wait for the same layer. The one that is interrupted returns at once, and the other
// goes on.
func TestEachWaitCanBeInterrupted(t *testing.T) {
	for name, do := range map[string]func(context.Context, *Dir) error{
		"lookup":  func(ctx context.Context, d *Dir) error { _, _, err := d.Lookup(ctx, "x"); return err },
		"list":    func(ctx context.Context, d *Dir) error { _, err := d.List(ctx); return err },
		"attr":    func(ctx context.Context, d *Dir) error { _, _, err := d.Attr(ctx); return err },
		"confine": func(ctx context.Context, d *Dir) error { _, err := d.Confine(ctx, "x/../y"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			m := newImage(t, []item{"d/ 0700", "d/x=0"}, []item{"d/y=1"})
			waits, come := make(chan struct{}, 2), make(chan struct{})
			m.fetch = func(ctx context.Context, n int) error {
				if n == 1 {
					return nil
				}
				select {
				case waits <- struct{}{}:
				case <-come:
				}
				select {
				case <-come:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			d := dirAt(t, NewTree(m, TreeOptions{}), "d")
			ctx, cancel := context.WithCancel(t.Context())
			interrupted, patient := make(chan error), make(chan error)
			go func() { interrupted <- do(ctx, d) }()
			go func() { patient <- do(t.Context(), d) }()
			<-waits
			<-waits
			cancel()
			if err := <-interrupted; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			close(come)
			if err := <-patient; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEndedContextIsReturned(t *testing.T) {
	m := newImage(t, []item{"d/x=0"}, []item{"d/y=1"})
	d := dirAt(t, NewTree(m, TreeOptions{}), "d")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := d.Lookup(ctx, "y"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := d.List(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !slices.Equal(m.asked, []int{1}) {
		t.Errorf("layers %v were asked for", m.asked)
	}
}
