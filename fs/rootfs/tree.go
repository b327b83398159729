package rootfs

import (
	"context"
)

// Layers are the layers of one image, the lowest first.
type Layers interface {
	// Len counts the layers.
	Len() int
	// Layer gives the index of a layer. It may have to fetch and unpack the layer.
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
}

// Tree is the merge of an image's layers. It is safe for concurrent use.
type Tree struct{}

// NewTree makes the merge of layers. No layer is asked for.
func NewTree(l Layers, o TreeOptions) *Tree { panic("to be built") }

// Root gives the root directory.
func (t *Tree) Root() *Dir { panic("to be built") }

// Dir is a directory of a Tree. It is safe for concurrent use. It looks into a layer when
// something needs it, and keeps what it learnt.
type Dir struct{}

// Found is what a name in a Tree means.
type Found struct {
	Name string
	// Dir is the directory; nil: Found is something else, and the fields below say what.
	Dir *Dir
	// Layer and Ino say where it is: the number of the layer and the Ino in its index. Of a
	// hard link into a lower layer they are the target's.
	Layer int
	Ino   Ino
	Attr  Attr
}

// Path gives the path below the root; "" is the root.
func (d *Dir) Path() string { panic("to be built") }

// Lookup finds a name. ok is false if the merge doesn't have it. It asks for no layer below the
// one that decides.
func (d *Dir) Lookup(ctx context.Context, name string) (f Found, ok bool, err error) {
	panic("to be built")
}

// List gives all names, in byte order. It asks for the layers down to the first that hides what
// is below.
func (d *Dir) List(ctx context.Context) ([]Found, error) { panic("to be built") }

// Attr gives the attributes: of the uppermost layer with an entry that describes the directory,
// and which layer that is. layer is -1, and Described is false, if no layer describes it. It asks
// for the layers down to that one.
func (d *Dir) Attr(ctx context.Context) (a Attr, layer int, err error) { panic("to be built") }

// Known is like Attr, but asks for no layer: ok is false if a layer would have to be asked for.
func (d *Dir) Known() (a Attr, layer int, ok bool) { panic("to be built") }

// Target gives what a symlink in this directory shows as its target. See Confine.
func (d *Dir) Target(ctx context.Context, f Found) (string, error) { panic("to be built") }

// Confine gives the relative path that leads the kernel from this directory to where a chroot
// into the tree would lead the target. It asks for layers only if a ".." stands behind a name.
func (d *Dir) Confine(ctx context.Context, target string) (string, error) { panic("to be built") }
