package rootfs

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
)

// Lookup finds a name. ok is false if the merge doesn't have it. It asks for no layer below the
// one that decides.
func (d *Dir) Lookup(ctx context.Context, name string) (f Found, ok bool, err error) {
	r := newResolver()
	f, ok, err = d.lookup(ctx, r, name)
	if errors.Is(err, errLookups) {
		d.noteLookups(name)
		return Found{}, false, nil
	}
	return f, ok, err
}

// noteLookups notes a hard link that isn't followed to its end.
func (d *Dir) noteLookups(name string) {
	d.tree.note(d, name, "it is a hard link whose target takes more than 4096 lookups to find")
}

// lookup is Lookup within the bounds of r.
func (d *Dir) lookup(ctx context.Context, r *resolver, name string) (f Found, ok bool, err error) {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return Found{}, false, nil
	case isWhiteout(name) && !d.tree.opt.Raw:
		return Found{}, false, nil
	}
	for i := 0; ; i++ {
		p, ok, err := d.part(ctx, i)
		if !ok || err != nil {
			return Found{}, false, err
		}
		x, err := d.tree.layer(ctx, p.layer)
		if err != nil {
			return Found{}, false, err
		}
		ino, ok, err := x.lookup(p.ino, name)
		if err != nil {
			return Found{}, false, err
		}
		if ok {
			return d.decided(ctx, r, i, p, x, name, ino)
		}
		gone, err := d.tree.whitedOut(x, p.ino, name)
		if gone || err != nil {
			return Found{}, false, err
		}
	}
}

// decided gives what a name means that the i-th part p has as ino.
func (d *Dir) decided(ctx context.Context, r *resolver, i int, p part, x layerIndex, name string, ino Ino) (Found, bool, error) {
	a, err := x.attr(ino)
	if err != nil {
		return Found{}, false, err
	}
	if !isDir(a.Mode) {
		return d.file(ctx, r, x, name, ino, a)
	}
	last, err := d.tree.last(x, p.ino, name, ino)
	if err != nil {
		return Found{}, false, err
	}
	parts, next := d.state()
	c := &Dir{tree: d.tree, parent: d, name: name, parts: []part{{p.layer, ino}}, next: after(parts, next, i)}
	if last {
		c.next = -1
	}
	if a.Described {
		c.attr, c.attrLayer, c.attrIno, c.attrKnown = a, p.layer, ino, true
	} else if c.next < 0 {
		c.attr, c.attrLayer, c.attrKnown = undescribed, -1, true
	}
	return Found{Name: name, Dir: c}, true, nil
}

// file gives what a name means that a layer has as ino, with attributes a: anything but a
// directory.
func (d *Dir) file(ctx context.Context, r *resolver, x layerIndex, name string, ino Ino, a Attr) (Found, bool, error) {
	if !a.LowerLink() {
		return Found{Name: name, Layer: x.n, Ino: ino, Attr: a}, true, nil
	}
	target, err := x.target(ino)
	if err != nil {
		return Found{}, false, err
	}
	if d.tree.opt.Raw {
		d.tree.note(d, name, "it is a hard link to "+strconv.Quote(target)+", which this archive doesn't have")
		return Found{}, false, nil
	}
	f, ok, err := r.linked(ctx, d.tree.rootBelow(x.n), target)
	if err != nil {
		return Found{}, false, err
	}
	if !ok {
		d.tree.note(d, name, "it is a hard link to "+strconv.Quote(target)+", which no layer below has as a file")
		return Found{}, false, nil
	}
	f.Name = name
	return f, true, nil
}

// Target gives what a symlink in this directory shows as its target: see Confine, or, with
// TreeOptions.Verbatim, what the archive has. f is of Lookup or List of this directory.
//
// A target of more than 4095 bytes is ErrTargetTooLong, verbatim or not: it is no target on Linux.
func (d *Dir) Target(ctx context.Context, f Found) (string, error) {
	if f.Dir != nil || !isSymlink(f.Attr.Mode) {
		return "", &fs.PathError{Op: "readlink", Path: d.join(f.Name), Err: syscall.EINVAL}
	}
	x, err := d.tree.layer(ctx, f.Layer)
	if err != nil {
		return "", err
	}
	target, err := x.target(f.Ino)
	if err != nil {
		return "", err
	}
	if !d.tree.opt.Verbatim {
		target, err = d.Confine(ctx, target)
	} else if len(target) > maxTarget {
		err = ErrTargetTooLong
	}
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: d.join(f.Name), Err: err}
	}
	return target, nil
}
