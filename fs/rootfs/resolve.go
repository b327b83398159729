package rootfs

import (
	"context"
	"errors"
	"strings"
)

// maxLookups is how many names a resolver looks up at most. A path of PATH_MAX bytes has 2048
// names; as many again are for the symlinks that it leads through. Without the bound, 40 symlinks
// of 2048 names each would take 80,000 lookups, and hard links that lead from layer to layer
// exponentially many.
const maxLookups = 4096

// errLookups says that a resolver has looked up maxLookups names.
var errLookups = errors.New("too many lookups")

// resolver bounds the work of finding where one path leads: the names of it, the symlinks that it
// leads through, and the hard links into lower layers. It is for one goroutine.
type resolver struct {
	left int // how many more names may be looked up
}

func newResolver() *resolver { return &resolver{left: maxLookups} }

// dir finds the directory that a path leads to, from d, as a chroot into d's tree would: symlinks
// are followed, and no ".." leads above the root. hops counts the symlinks that were followed; it
// is added to. ok is false if the path leads to no directory: a name of it is missing or is
// something else, or there are more than maxHops symlinks.
func (r *resolver) dir(ctx context.Context, d *Dir, path string, hops *int) (to *Dir, ok bool, err error) {
	rest := []string{path} // what is to be walked, the last first
	for len(rest) > 0 {
		path := rest[len(rest)-1]
		if strings.HasPrefix(path, "/") {
			// Only a target begins so: what is left of a path is cut behind its slash.
			d, path = d.top(), strings.TrimLeft(path, "/")
		}
		name, more, _ := strings.Cut(path, "/")
		if more = strings.TrimLeft(more, "/"); more == "" {
			rest = rest[:len(rest)-1]
		} else {
			rest[len(rest)-1] = more
		}
		var target string
		if d, target, ok, err = r.step(ctx, d, name, hops); !ok || err != nil {
			return nil, false, err
		}
		if target != "" {
			rest = append(rest, target)
		}
	}
	return d, true, nil
}

// step goes one component of a path from d. If the component is a symlink, it stays in d, and
// target is where to go on. ok is false as in dir.
func (r *resolver) step(ctx context.Context, d *Dir, name string, hops *int) (to *Dir, target string, ok bool, err error) {
	switch name {
	case "", ".":
		return d, "", true, nil
	case "..":
		if d.parent != nil {
			d = d.parent
		}
		return d, "", true, nil
	}
	if r.left--; r.left < 0 {
		return nil, "", false, errLookups
	}
	f, ok, err := d.lookup(ctx, r, name)
	switch {
	case !ok || err != nil:
		return nil, "", false, err
	case f.Dir != nil:
		return f.Dir, "", true, nil
	case !isSymlink(f.Attr.Mode):
		return nil, "", false, nil
	}
	if *hops++; *hops > maxHops {
		return nil, "", false, nil
	}
	x, err := d.tree.layer(ctx, f.Layer)
	if err != nil {
		return nil, "", false, err
	}
	target, err = x.target(f.Ino)
	if err != nil {
		return nil, "", false, err
	}
	if len(target) > maxTarget {
		return nil, "", false, nil
	}
	return d, target, true, nil
}

// follow goes one component of a path from d to a directory, through symlinks. hops and ok are as
// in dir.
func (r *resolver) follow(ctx context.Context, d *Dir, name string, hops *int) (to *Dir, ok bool, err error) {
	to, target, ok, err := r.step(ctx, d, name, hops)
	if !ok || err != nil || target == "" {
		return to, ok, err
	}
	return r.dir(ctx, to, target, hops)
}

// linked finds what a hard link to a path means whose layer is just above the tree of root. The
// last component isn't followed if it is a symlink. ok is false if it isn't there or is a
// directory.
func (r *resolver) linked(ctx context.Context, root *Dir, path string) (f Found, ok bool, err error) {
	parent, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		parent, name = path[:i], path[i+1:]
	}
	var hops int
	d, ok, err := r.dir(ctx, root, parent, &hops)
	if !ok || err != nil {
		return Found{}, false, err
	}
	f, ok, err = d.lookup(ctx, r, name)
	if !ok || err != nil || f.Dir != nil {
		return Found{}, false, err
	}
	return f, true, nil
}
