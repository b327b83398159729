package rootfs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// model is a node of a tree in memory: the merge as the specification has it, one layer applied
// after the other from the lowest up, and paths as a kernel resolves them.
type model struct {
	names map[string]*model // nil: no directory
	layer int               // of a directory: the one that describes it, or -1
	ino   Ino               // of anything but a directory
	mode  uint32
	path  string // the target of a symlink or a LowerLink
}

// modelLayer reads one layer as it is.
func modelLayer(t testing.TB, l *layer, n int, i Ino) *model {
	a, err := l.Attr(i)
	if err != nil {
		t.Fatal(err)
	}
	m := &model{layer: n, ino: i, mode: a.Mode}
	if a.LowerLink() || isSymlink(a.Mode) {
		if m.path, err = l.Target(i); err != nil {
			t.Fatal(err)
		}
	}
	if !isDir(a.Mode) {
		return m
	}
	if !a.Described || i == Root {
		m.layer = -1
	}
	m.ino, m.names = 0, map[string]*model{}
	names, err := l.List(i)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range names {
		m.names[c.Name] = modelLayer(t, l, n, c.Ino)
	}
	return m
}

// modelImage applies all layers of an image.
func modelImage(t testing.TB, m *image) *model {
	root := &model{names: map[string]*model{}, layer: -1}
	for n, l := range m.layers {
		root = apply(root, root, modelLayer(t, l, n, Root))
	}
	return root
}

// apply gives a directory with a layer's directory over it. root is the tree of the layers below.
func apply(root, below, up *model) *model {
	to := &model{names: map[string]*model{}, layer: up.layer}
	if below != nil && below.names != nil {
		if up.layer < 0 {
			to.layer = below.layer
		}
		maps.Copy(to.names, below.names)
	}
	if up.names[".wh..wh..opq"] != nil {
		clear(to.names)
	}
	for name := range up.names {
		if hidden, ok := strings.CutPrefix(name, ".wh."); ok {
			delete(to.names, hidden)
		}
	}
	opaqueLayer := func(m *model) *model { return apply(root, nil, m) }
	for name, m := range up.names {
		switch {
		case strings.HasPrefix(name, ".wh."):
		case m.names != nil && to.names[name] != nil && to.names[name].names != nil && m.names[".wh..wh..opq"] == nil:
			to.names[name] = apply(root, to.names[name], m)
		case m.names != nil:
			to.names[name] = opaqueLayer(m)
		case m.mode == 0:
			delete(to.names, name)
			if at, errno := (&kernel{root: root, hops: 0}).resolve(nil, m.path, false); errno == 0 && at.node(root).names == nil {
				to.names[name] = at.node(root)
			}
		default:
			to.names[name] = m
		}
	}
	return to
}

// list describes all names below a directory; see listTree.
func (m *model) list(path string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(m.names)) {
		c := m.names[name]
		if c.names == nil {
			all = append(all, fmt.Sprintf("%s%s: Ino %d of layer %d", path, name, c.ino, c.layer))
			continue
		}
		all = append(all, fmt.Sprintf("%s%s/: described by layer %d", path, name, c.layer))
		all = append(all, c.list(path+name+"/")...)
	}
	return all
}

// listTree describes all names below a directory of a Tree, as model.list does.
func listTree(t testing.TB, d *Dir) []string {
	found, err := d.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range found {
		if f.Dir == nil {
			all = append(all, fmt.Sprintf("%s: Ino %d of layer %d", d.join(f.Name), f.Ino, f.Layer))
			continue
		}
		_, layer, err := f.Dir.Attr(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s/: described by layer %d", f.Dir.Path(), layer))
		all = append(all, listTree(t, f.Dir)...)
	}
	return all
}

// place is where a path led: the names and nodes from the root on.
type place []step

type step struct {
	name string
	node *model
}

func (p place) String() string {
	s := "/"
	for _, c := range p {
		s += c.name + "/"
	}
	return s
}

func (p place) node(root *model) *model {
	if len(p) == 0 {
		return root
	}
	return p[len(p)-1].node
}

// kernel resolves paths as Linux does.
type kernel struct {
	root *model
	hops int // symlinks followed so far
	// limit is how many symlinks may be followed; 0: 40.
	limit int
	// shown gives the target that a Tree shows for a symlink; "/" and a ".." at the root lead
	// out. nil: targets are the archive's, and the root is that of a chroot.
	shown func(in place, name string, m *model) string
	// invent makes a directory of a missing name.
	invent bool
	left   bool // a path led out
}

func (k *kernel) resolve(at place, path string, follow bool) (place, syscall.Errno) {
	if strings.HasPrefix(path, "/") {
		if k.shown != nil {
			k.left = true
			return nil, syscall.EXDEV
		}
		at = nil
	}
	names := strings.Split(path, "/")
	for i, name := range names {
		dir := at.node(k.root)
		if dir.names == nil && path != "" {
			return nil, syscall.ENOTDIR
		}
		switch name {
		case "", ".":
			continue
		case "..":
			if len(at) > 0 {
				at = at[:len(at)-1]
			} else if k.shown != nil {
				k.left = true
				return nil, syscall.EXDEV
			}
			continue
		}
		m := dir.names[name]
		if m == nil && k.invent {
			m = &model{names: map[string]*model{}}
		}
		if m == nil {
			return nil, syscall.ENOENT
		}
		if isSymlink(m.mode) && (follow || i < len(names)-1) {
			limit := max(k.limit, 40)
			if k.hops++; k.hops > limit {
				return nil, syscall.ELOOP
			}
			target := m.path
			if k.shown != nil {
				target = k.shown(at, name, m)
			}
			var errno syscall.Errno
			if at, errno = k.resolve(at, target, true); errno != 0 {
				return nil, errno
			}
			continue
		}
		at = append(slices.Clip(at), step{name, m})
	}
	return at, 0
}

// feed makes layers of arbitrary bytes.
type feed []byte

func (f *feed) next(n int) int {
	if len(*f) == 0 {
		return 0
	}
	b := int((*f)[0])
	*f = (*f)[1:]
	return b % n
}

func (f *feed) path() string {
	s := string("abcd"[f.next(4)])
	for range f.next(3) {
		s += "/" + string("abcd"[f.next(4)])
	}
	return s
}

func (f *feed) target() string {
	components := []string{"a", "b", "c", "d", "..", "..", "..", ".", "", "l1", "l2", "e"}
	s := ""
	if f.next(3) == 0 {
		s = "/"
	}
	for range f.next(6) {
		s += components[f.next(len(components))] + "/"
	}
	if s == "" || f.next(4) > 0 {
		s += components[f.next(len(components))]
	}
	if s == "" {
		return "."
	}
	return s
}

// item gives one entry of a layer.
func (f *feed) item() item {
	p := f.path()
	dir, name := "", p
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		dir, name = p[:i+1], p[i+1:]
	}
	switch f.next(10) {
	case 0, 1:
		return item(p + "/ 0700")
	case 2, 3:
		return item(p + "=x")
	case 4, 5, 6:
		return item(p + "->" + f.target())
	case 7:
		return item(p + "=>" + f.path())
	case 8:
		return item(dir + ".wh." + name)
	default:
		return item(p + "/.wh..wh..opq")
	}
}

// layers gives up to max layers.
func (f *feed) layers(max int) [][]item {
	var layers [][]item
	for len(layers) < max && len(*f) > 0 {
		var l []item
		n := f.next(16)
		if n >= 12 && len(layers) > 0 { // a layer once more
			l, n = layers[(n-12)%len(layers)], 0
		}
		for len(l) < n && len(*f) > 0 {
			l = append(l, f.item())
		}
		layers = append(layers, l)
	}
	return layers
}

// FuzzMerge compares trees with the same layers applied one after the other.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("some layers of arbitrary bytes, and a few of them more"))
	f.Add([]byte("\x0b\x00\x00\x00\x01\x01\x02\x02\x03\x01\x02\x03\x02\x08\x00\x00\x09\x0b\x00\x00\x07\x01\x01\x02\x00\x08"))
	for seed := range byte(200) {
		f.Add(noise(seed, 120))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		layers := (*feed)(&b).layers(5)
		m := newImage(t, layers...)
		bounded := false
		tree := NewTree(m, TreeOptions{Note: func(n Note) { bounded = bounded || strings.Contains(n.Why, "lookups") }})
		got := listTree(t, tree.Root())
		if bounded {
			t.Skip("a hard link takes too many lookups")
		}
		if want := modelImage(t, m).list(""); !slices.Equal(got, want) {
			t.Fatalf("layers %q:\n got %q\nwant %q", layers, got, want)
		}
		if _, err := m.walk(NewTree(m, TreeOptions{Verbatim: true}).Root(), true); err != nil {
			t.Fatalf("layers %q: %v", layers, err)
		}
	})
}

// noise gives n bytes that look arbitrary.
func noise(seed byte, n int) []byte {
	b, x := make([]byte, n), uint32(seed)*2654435761+1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x >> 8)
	}
	return b
}
