package rootfs

import (
	"context"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"
)

// Dir is a directory of a Tree. It is safe for concurrent use. It looks into a layer when
// something needs it, and keeps what it learnt.
//
// A Dir asks layers without holding its lock, so that each of several callers can be interrupted.
// Two callers may learn the same thing at the same time; the second one's is dropped.
type Dir struct {
	tree   *Tree
	parent *Dir // nil: the root
	name   string

	// mu guards the fields below. No other lock is taken, and no layer is asked for, while it
	// is held.
	mu sync.Mutex
	// parts are what the layers above next contribute, the uppermost first. The slice only
	// grows, so that who has a copy of it can read on without the lock.
	parts []part
	// next is the uppermost layer that the directory hasn't looked into. All that the layers
	// above it contribute is in parts. -1: no layer is left that can contribute. The parent's
	// next is never above it.
	next int
	// attr and attrLayer are what Attr gives, attrIno is the Ino in that layer. attrKnown is false
	// if they aren't known yet.
	attr      Attr
	attrLayer int
	attrIno   Ino
	attrKnown bool
}

// part is a directory of one layer that contributes to a directory of a Tree.
type part struct {
	layer int
	ino   Ino
}

// Found is what a name in a Tree means.
type Found struct {
	Name string
	// Dir is the directory; nil: Found is something else, and the fields below say what. Each
	// Lookup and each List gives a Dir of its own, which has to learn by itself.
	Dir *Dir
	// Layer and Ino say where it is: the number of the layer and the Ino in its index. Of a
	// hard link into a lower layer they are the target's.
	Layer int
	Ino   Ino
	Attr  Attr
}

// IsRoot says whether this is the root directory. Path would take a time that grows with the depth.
func (d *Dir) IsRoot() bool { return d.parent == nil }

// Path gives the path below the root; "" is the root.
func (d *Dir) Path() string {
	var names []string
	for ; d.parent != nil; d = d.parent {
		names = append(names, d.name)
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// join gives the path of a name in the directory, below the root.
func (d *Dir) join(name string) string {
	if d.parent == nil {
		return name
	}
	return d.Path() + "/" + name
}

// depth counts the directories above.
func (d *Dir) depth() int {
	n := 0
	for ; d.parent != nil; d = d.parent {
		n++
	}
	return n
}

// top gives the root of the directory's tree: Tree.Root, or a root of Tree.rootBelow.
func (d *Dir) top() *Dir {
	for d.parent != nil {
		d = d.parent
	}
	return d
}

// state gives what is known of the parts.
func (d *Dir) state() (parts []part, next int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.parts, d.next
}

// part gives the i-th part from the top. It looks into as many layers as it needs. ok is false if
// there are fewer parts.
func (d *Dir) part(ctx context.Context, i int) (p part, ok bool, err error) {
	for {
		parts, next := d.state()
		switch {
		case i < len(parts):
			return parts[i], true, nil
		case next < 0:
			return part{}, false, nil
		}
		if err := d.look(ctx, next); err != nil {
			return part{}, false, err
		}
	}
}

// after gives the uppermost layer below the i-th part that may contribute; -1: none.
func after(parts []part, next, i int) int {
	if i+1 < len(parts) {
		return parts[i+1].layer
	}
	return next
}

// look looks into layer n, which is d.next. The directories above that haven't looked into it do
// so first.
func (d *Dir) look(ctx context.Context, n int) error {
	var blind []*Dir // the lowest first
	for a := d; a != nil; a = a.parent {
		if _, next := a.state(); next != n {
			break
		}
		blind = append(blind, a)
	}
	for _, a := range slices.Backward(blind) {
		if err := a.lookAlone(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// lookAlone looks into layer n, into which the parent has looked already.
func (d *Dir) lookAlone(ctx context.Context, n int) error {
	if d.parent == nil {
		return d.lookRoot(ctx, n)
	}
	parts, next := d.parent.state()
	i := sort.Search(len(parts), func(i int) bool { return parts[i].layer <= n })
	if i == len(parts) || parts[i].layer < n {
		// The layer has no such directory as the parent.
		d.learn(n, nil, after(parts, next, i-1))
		return nil
	}
	x, err := d.tree.layer(ctx, n)
	if err != nil {
		return err
	}
	at, rest := parts[i].ino, after(parts, next, i)
	ino, ok, err := x.lookup(at, d.name)
	if err != nil {
		return err
	}
	var found *part
	var last bool
	if ok {
		a, err := x.attr(ino)
		if err != nil {
			return err
		}
		if last = !isDir(a.Mode); !last {
			found = &part{n, ino}
			last, err = d.tree.last(x, at, d.name, ino)
			if err != nil {
				return err
			}
		}
	} else if last, err = d.tree.whitedOut(x, at, d.name); err != nil {
		return err
	}
	if last {
		rest = -1
	}
	d.learn(n, found, rest)
	return nil
}

// lookRoot is lookAlone of a root.
func (d *Dir) lookRoot(ctx context.Context, n int) error {
	x, err := d.tree.layer(ctx, n)
	if err != nil {
		return err
	}
	if parts, _ := d.state(); d.tree.again(x, parts) {
		d.learn(n, nil, n-1)
		return nil
	}
	opaque, err := d.tree.opaque(x, Root)
	if err != nil {
		return err
	}
	next := n - 1
	if opaque {
		next = -1
	}
	d.learn(n, &part{n, Root}, next)
	return nil
}

// learn keeps what a look into layer n brought: a part or nil, and the layer to look into next.
func (d *Dir) learn(n int, p *part, next int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next != n {
		return // somebody else looked at the same time
	}
	if p != nil {
		d.parts = append(d.parts, *p)
	}
	d.next = next
}

// last reports whether nothing below a layer contributes to the directory ino that the layer has
// under a name in its directory parent.
func (t *Tree) last(x layerIndex, parent Ino, name string, ino Ino) (bool, error) {
	if last, err := t.opaque(x, ino); last || err != nil {
		return last, err
	}
	return t.whitedOut(x, parent, name)
}

// opaque reports whether a directory of a layer hides what the layers below have in it.
func (t *Tree) opaque(x layerIndex, dir Ino) (bool, error) {
	if t.opt.Raw {
		return false, nil
	}
	_, ok, err := x.lookup(dir, opaqueName)
	return ok, err
}

// whitedOut reports whether a directory of a layer hides a name of the layers below.
func (t *Tree) whitedOut(x layerIndex, dir Ino, name string) (bool, error) {
	if t.opt.Raw {
		return false, nil
	}
	_, ok, err := x.lookup(dir, whiteoutPrefix+name)
	return ok, err
}

// Attr gives the attributes: of the uppermost layer with an entry that describes the directory,
// and which layer that is. layer is -1, and Described is false, if no layer describes it. It asks
// for the layers down to that one. The root's are never described, and no layer is asked for them.
func (d *Dir) Attr(ctx context.Context) (a Attr, layer int, err error) {
	if a, layer, ok := d.Known(); ok {
		return a, layer, nil
	}
	for i := 0; ; i++ {
		p, ok, err := d.part(ctx, i)
		if err != nil {
			return Attr{}, -1, err
		}
		if !ok {
			d.describe(undescribed, -1, 0)
			return undescribed, -1, nil
		}
		x, err := d.tree.layer(ctx, p.layer)
		if err != nil {
			return Attr{}, -1, err
		}
		a, err := x.attr(p.ino)
		if err != nil {
			return Attr{}, -1, err
		}
		if a.Described {
			d.describe(a, p.layer, p.ino)
			return a, p.layer, nil
		}
	}
}

// Known is like Attr, but asks for no layer: ok is false if a layer would have to be asked for.
func (d *Dir) Known() (a Attr, layer int, ok bool) {
	if d.parent == nil {
		return undescribed, -1, true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.attrKnown {
		return Attr{}, -1, false
	}
	return d.attr, d.attrLayer, true
}

// DescribedBy gives the layer that describes the directory, and the Ino there. ok is false if no
// layer does, or Attr would have to ask for one.
func (d *Dir) DescribedBy() (layer int, i Ino, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.attrLayer, d.attrIno, d.attrKnown && d.attr.Described
}

// describe keeps what Attr gives.
func (d *Dir) describe(a Attr, layer int, i Ino) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attr, d.attrLayer, d.attrIno, d.attrKnown = a, layer, i, true
}

// undescribed are the attributes of a directory that no layer describes.
var undescribed = Attr{Mode: syscall.S_IFDIR, Nlink: 1}

func isDir(mode uint32) bool     { return mode&syscall.S_IFMT == syscall.S_IFDIR }
func isSymlink(mode uint32) bool { return mode&syscall.S_IFMT == syscall.S_IFLNK }
