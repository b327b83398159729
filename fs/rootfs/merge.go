package rootfs

import (
	"container/heap"
	"context"
	"errors"
	"slices"
)

// List gives all names, in byte order. It asks for the layers down to the first that hides what
// is below. The directories in it know all of their parts.
func (d *Dir) List(ctx context.Context) ([]Found, error) {
	// Elsewhere a layer below may turn out not to count. All that is in a root's layers counts,
	// unless a layer hides the whole root, which is rare.
	if _, next := d.state(); d.parent == nil && next >= 0 {
		d.tree.layers.Ahead(next)
	}
	var m merge
	longest := 0
	for i := 0; ; i++ {
		p, ok, err := d.part(ctx, i)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		x, err := d.tree.layer(ctx, p.layer)
		if err != nil {
			return nil, err
		}
		names, err := x.list(p.ino)
		if err != nil {
			return nil, err
		}
		longest = max(longest, len(names))
		m.add(d, &listing{rank: i, index: x, names: names})
	}
	heap.Init(&m)
	found := make([]Found, 0, longest)
	for len(m) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, ok, err := d.merged(ctx, &m)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, f)
		}
	}
	return found, nil
}

// merged takes the next name from all listings that have it, and gives what it means.
func (d *Dir) merged(ctx context.Context, m *merge) (Found, bool, error) {
	var (
		name      = (*m)[0].next()
		file      *listing // the one that decides, if the name is no directory
		ino       Ino      // in file
		mode      uint32   // in file
		parts     []part   // if the name is a directory
		dir       Attr     // the uppermost attributes in parts that are described
		layer     = -1     // of dir
		described Ino      // of dir, in layer
		decided   bool     // the listings below don't count
	)
	for len(*m) > 0 && (*m)[0].next() == name {
		l := (*m)[0]
		n, ok, hides := l.take(name)
		if len(l.names)+len(l.hidden) == 0 {
			heap.Pop(m)
		} else {
			heap.Fix(m, 0)
		}
		if decided {
			continue
		}
		decided = hides
		switch {
		case !ok:
		case !isDir(n.Mode):
			decided = true
			if parts == nil {
				file, ino, mode = l, n.Ino, n.Mode
			}
		default:
			parts = append(parts, part{l.index.n, n.Ino})
			opaque, err := d.tree.opaque(l.index, n.Ino)
			if err != nil {
				return Found{}, false, err
			}
			decided = decided || opaque
			if layer < 0 {
				a, err := l.index.attr(n.Ino)
				if err != nil {
					return Found{}, false, err
				}
				if a.Described {
					dir, layer, described = a, l.index.n, n.Ino
				}
			}
		}
	}
	switch {
	case parts != nil:
		if layer < 0 {
			dir = undescribed
		}
		c := &Dir{tree: d.tree, parent: d, name: name, parts: parts, next: -1, attr: dir, attrLayer: layer, attrIno: described, attrKnown: true}
		return Found{Name: name, Dir: c}, true, nil
	case file == nil:
		return Found{}, false, nil
	}
	var a Attr
	if mode != 0 {
		var err error
		if a, err = file.index.attr(ino); err != nil {
			return Found{}, false, err
		}
	}
	f, ok, err := d.file(ctx, newResolver(), file.index, name, ino, a)
	if errors.Is(err, errLookups) {
		d.noteLookups(name)
		return Found{}, false, nil
	}
	return f, ok, err
}

// listing is what is left to merge of one part of a directory.
type listing struct {
	rank   int // 0: the uppermost part
	index  layerIndex
	names  []Name // without whiteouts, unless the tree is raw
	hidden []Name // whiteouts, in the order of the names that they hide
}

// next gives the name that is to be merged next: one of the part, or one that the part hides.
func (l *listing) next() string {
	switch {
	case len(l.hidden) == 0:
		return l.names[0].Name
	case len(l.names) == 0:
		return l.hidden[0].Name[len(whiteoutPrefix):]
	}
	return min(l.names[0].Name, l.hidden[0].Name[len(whiteoutPrefix):])
}

// take takes a name, which is next. ok is true if the part has it, hides is true if the part hides
// it in the layers below.
func (l *listing) take(name string) (n Name, ok, hides bool) {
	if len(l.names) > 0 && l.names[0].Name == name {
		n, ok, l.names = l.names[0], true, l.names[1:]
	}
	if len(l.hidden) > 0 && l.hidden[0].Name[len(whiteoutPrefix):] == name {
		hides, l.hidden = true, l.hidden[1:]
	}
	return n, ok, hides
}

// merge is a heap of listings that aren't at their end: the one with the least name is the first,
// and of those with the same name the uppermost part's.
type merge []*listing

// add puts a listing of d into the heap. heap.Init has to follow.
func (m *merge) add(d *Dir, l *listing) {
	if !d.tree.opt.Raw {
		if from, to := whiteouts(l.names); from < to {
			l.hidden = l.names[from:to]
			l.names = slices.Concat(l.names[:from], l.names[to:])
		}
		if len(l.hidden) > 0 && l.hidden[0].Name == whiteoutPrefix {
			d.tree.note(d, whiteoutPrefix, "it is a whiteout that names nothing")
			l.hidden = l.hidden[1:]
		}
	}
	if len(l.names)+len(l.hidden) > 0 {
		*m = append(*m, l)
	}
}

func (m merge) Len() int { return len(m) }

func (m merge) Less(i, j int) bool {
	a, b := m[i].next(), m[j].next()
	if a != b {
		return a < b
	}
	return m[i].rank < m[j].rank
}

func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }

func (m *merge) Push(l any) { *m = append(*m, l.(*listing)) }

func (m *merge) Pop() any {
	last := len(*m) - 1
	l := (*m)[last]
	(*m)[last] = nil
	*m = (*m)[:last]
	return l
}
