package rootfs

import (
	"context"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
)

// Layers are the layers of one image, the lowest first.
type Layers interface {
	// Len counts the layers.
	Len() int
	// Layer gives the index of a layer. It may have to fetch and unpack the layer, and ends
	// with ctx. A Tree keeps no index: each lookup asks for layers that it knows again, from
	// several goroutines at once.
	Layer(ctx context.Context, n int) (*Index, error)
	// Ahead says that the layers from n down will probably be asked for next, from the top
	// down. It doesn't wait.
	Ahead(n int)
}

// TreeOptions says how a Tree shows layers. The zero value merges them as the OCI image spec has
// it, and confines symlinks.
type TreeOptions struct {
	// Raw shows a single archive as it is, with whiteouts as the files that they are there.
	Raw bool
	// Verbatim shows targets of symlinks as they are in the archive.
	Verbatim bool
	// Note is told of a name that an archive has and the Tree doesn't show: a hard link that
	// leads to no file, and a whiteout of nothing (".wh."). Note.Name is the path below the
	// root. It is told again whenever the name is met, by several goroutines at once. nil:
	// nobody is told.
	Note func(Note)
}

// Tree is the merge of an image's layers. It is safe for concurrent use.
//
// The error of a layer is a LayerError. A context that has ended is an error at once.
type Tree struct {
	layers Layers
	opt    TreeOptions
	root   *Dir

	// mu guards the fields below. No other lock is taken, and no layer is asked for, while it is
	// held.
	mu sync.Mutex
	// below has the root of the merge of the layers below n, by n. See Tree.rootBelow.
	below map[int]*Dir
	// diffIDs has what is known of the layers' diff IDs, by their numbers. See Tree.again.
	diffIDs map[int]digest.Digest
}

// NewTree makes the merge of layers. No layer is asked for.
func NewTree(l Layers, o TreeOptions) *Tree {
	t := &Tree{layers: l, opt: o}
	t.root = &Dir{tree: t, next: l.Len() - 1}
	return t
}

// Root gives the root directory.
func (t *Tree) Root() *Dir { return t.root }

// rootBelow gives the root of the merge of the layers below n: that is where the hard links of
// layer n find their targets. The root is kept, and what it learns with it.
func (t *Tree) rootBelow(n int) *Dir {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.below[n]
	if d == nil {
		if t.below == nil {
			t.below = make(map[int]*Dir)
		}
		d = &Dir{tree: t, next: n - 1}
		t.below[n] = d
	}
	return d
}

// again reports whether a layer has the same archive as one of the layers above that parts are of.
// Such a layer contributes nothing: each of its names is decided above.
func (t *Tree) again(x layerIndex, parts []part) bool {
	id := x.index.Meta().DiffID
	if id == "" {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.diffIDs == nil {
		t.diffIDs = make(map[int]digest.Digest)
	}
	t.diffIDs[x.n] = id
	return slices.ContainsFunc(parts, func(p part) bool { return t.diffIDs[p.layer] == id })
}

// note tells TreeOptions.Note of a name in d.
func (t *Tree) note(d *Dir, name, why string) {
	if t.opt.Note != nil {
		t.opt.Note(Note{Name: d.join(name), Why: why})
	}
}
