package fs

import (
	"context"
	"errors"
	"sort"
	"syscall"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/layers"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/rootfs"
)

// treeDir is a directory in rootfs/ or unpacked/. A call that needs a layer waits until it is
// unpacked, as long as something of it comes.
type treeDir struct {
	place
	*files
	dir *rootfs.Dir
}

// Immutable says that the names in the directory never change, because its path has a digest.
func (*treeDir) Immutable() {}

// Attr gives the attributes as far as they are known. ls and find ask for no more.
func (d *treeDir) Attr() node.Attr {
	a, _, ok := d.dir.Known()
	if d.dir.IsRoot() {
		a, ok = rootfs.Attr{}, true
	}
	return d.attrOf(a, ok)
}

// attrOf makes the attributes of the directory. sure says that a has the final ones.
func (d *treeDir) attrOf(a rootfs.Attr, sure bool) node.Attr {
	n := d.dirAttr("")
	n.Mode, n.UID, n.GID, n.Mtime = syscall.S_IFDIR|0o755, 0, 0, d.files.mtime
	if a.Described {
		n.Mode, n.UID, n.GID, n.Mtime = a.Mode, a.UID, a.GID, a.Mtime
	}
	if !sure {
		n.TTL = 0
	}
	return n
}

// AttrFor waits for the uppermost layer that describes the directory. The root has the same
// attributes in every tree.
func (d *treeDir) AttrFor(ctx context.Context, by caller.Caller) (node.Attr, error) {
	if d.dir.IsRoot() {
		return d.Attr(), nil
	}
	ctx, cancel := d.reach(ctx, by)
	defer cancel()
	var a rootfs.Attr
	err := d.reading(func() (err error) {
		a, _, err = d.dir.Attr(ctx)
		return err
	})
	return d.attrOf(a, true), err
}

// reach gives the context of a call that may unpack layers. What the mount itself calls is charged
// to the payer that ctx has.
func (d *treeDir) reach(ctx context.Context, by caller.Caller) (context.Context, context.CancelFunc) {
	if !by.Program {
		return context.WithCancel(ctx)
	}
	return context.WithCancel(guard.WithPayer(ctx, guard.PayerOf(by)))
}

func (d *treeDir) Lookup(ctx context.Context, name string) (node.Child, error) {
	return d.LookupFor(ctx, caller.Caller{}, name)
}

// LookupFor looks from the top layer down, and waits for no layer below the one that decides.
func (d *treeDir) LookupFor(ctx context.Context, by caller.Caller, name string) (node.Child, error) {
	ctx, cancel := d.reach(ctx, by)
	defer cancel()
	var c node.Child
	err := d.reading(func() error {
		f, ok, err := d.dir.Lookup(ctx, name)
		switch {
		case err != nil:
			return err
		case !ok:
			return node.ErrNotExist
		}
		c, err = d.child(ctx, f)
		return err
	})
	return c, err
}

// reading calls a function that reads indexes. If one can't be read, its layer is unpacked again,
// at most as often as there are layers.
func (d *treeDir) reading(do func() error) error {
	var of *rootfs.LayerError
	for again := d.image.Len(); ; again-- {
		err := do()
		if again == 0 || !errors.Is(err, rootfs.ErrIndex) || !errors.As(err, &of) {
			return err
		}
		d.image.Doubt(of.Layer)
	}
}

func (d *treeDir) List(ctx context.Context) (node.Listing, error) {
	return d.ListFor(ctx, caller.Caller{})
}

// ListFor waits for the layers down to the first that hides what is below.
func (d *treeDir) ListFor(ctx context.Context, by caller.Caller) (node.Listing, error) {
	ctx, cancel := d.reach(ctx, by)
	defer cancel()
	var all []rootfs.Found
	links := map[string]node.Child{}
	err := d.reading(func() (err error) {
		all, err = d.dir.List(layers.Listing(ctx))
		for _, f := range all {
			if err == nil && isLink(f) {
				links[f.Name], err = d.child(ctx, f)
			}
		}
		return err
	})
	if err != nil {
		return node.Listing{}, err
	}
	names := make([]string, len(all))
	for k, f := range all {
		names[k] = f.Name
	}
	return node.Listing{Names: names, Child: func(name string) node.Child {
		if c, ok := links[name]; ok {
			return c
		}
		k := sort.Search(len(all), func(k int) bool { return all[k].Name >= name })
		return d.made(all[k])
	}}, nil
}

// isLink says whether a name is that of a symlink.
func isLink(f rootfs.Found) bool {
	return f.Dir == nil && f.Attr.Mode&syscall.S_IFMT == syscall.S_IFLNK
}

// child makes the entry of a name.
func (d *treeDir) child(ctx context.Context, f rootfs.Found) (node.Child, error) {
	if !isLink(f) {
		return d.made(f), nil
	}
	to, err := d.dir.Target(ctx, f)
	broken := errors.Is(err, rootfs.ErrTargetTooLong) || errors.Is(err, rootfs.ErrTargetLookups)
	if err != nil && !broken {
		return node.Child{}, err
	}
	return node.Child{Name: f.Name, Entry: &treeLink{d.entry(f), to, err}, TTL: forever}, nil
}

// made makes the entry of a name that isn't a symlink.
func (d *treeDir) made(f rootfs.Found) node.Child {
	var e node.Entry
	switch {
	case f.Dir != nil:
		e = &treeDir{d.at(f.Name), d.files, f.Dir}
	case f.Attr.Mode&syscall.S_IFMT == syscall.S_IFREG:
		e = &treeFile{d.entry(f)}
	default:
		e = &treeSpecial{d.entry(f)}
	}
	return node.Child{Name: f.Name, Entry: e, TTL: forever}
}

func (d *treeDir) entry(f rootfs.Found) treeEntry {
	return treeEntry{d, f.Name, int32(f.Layer), f.Ino, f.Attr}
}

// Xattrs gives those of the archive, and the layer that they are from. They are known when the
// attributes are.
func (d *treeDir) Xattrs() map[string]string {
	layer, ino, ok := d.dir.DescribedBy()
	if !ok {
		return nil
	}
	return layerXattrs(d.image, layer, ino)
}

// whatIsHere gives the root of the same tree without what a download would have to bring, which is
// layers.ErrNotHere.
func (d *treeDir) whatIsHere() *treeDir { return newFiles(d.place, d.image.Here(), d.mtime, d.raw) }
