package rootfs

import (
	"context"
	"errors"
	"strings"
)

// Errors of Target and Confine, for errors.Is.
var (
	// ErrTargetTooLong: the target of a symlink has more than 4095 bytes, or would have as a
	// relative path.
	ErrTargetTooLong = errors.New("the target has more than 4095 bytes")
	// ErrTargetLookups: the target of a symlink has a ".." behind names that take more than 4096
	// lookups to resolve.
	ErrTargetLookups = errors.New("the target leads through too many names")
)

// Confine gives the relative path that leads the kernel from this directory to where a chroot
// into the tree would lead the target. It asks for layers only if a ".." stands behind a name.
//
// # How
//
// The kernel follows a path in the mounted tree as a chroot does, component by component, but for
// two: a "/" at the start, and a ".." at the root. At both the path is at the root of the tree,
// and what is before has no further effect. So the result is, if there is any of the two, as many
// "../" as the directory is deep, and what follows behind the last of them. All else stays byte
// for byte. Names before a ".." are looked up to know which ".." is at the root. Symlinks among
// them are shown confined as well, so the kernel goes through them as a chroot does.
//
// Where the path leads nowhere (a name is missing, is a file, or is in a circle of symlinks), the
// kernel stops as a chroot does. The rest is kept, but for each ".." that would lead out if the
// names were directories, and each ".." behind a symlink that leads nowhere. So no program that
// resolves paths by itself, and is more patient than the kernel, comes out.
//
// Rejected: to write every ".." away that stands behind a name. That changes targets that don't
// lead out, and those that lead nowhere here and are meant for another tree ("/proc/self/../x").
func (d *Dir) Confine(ctx context.Context, target string) (string, error) {
	if len(target) > maxTarget {
		return "", ErrTargetTooLong
	}
	rest, fromRoot, err := d.limitUps(ctx, target)
	switch {
	case errors.Is(err, errLookups):
		return "", ErrTargetLookups
	case err != nil:
		return "", err
	case !fromRoot:
		return rest, nil
	}
	rest = strings.TrimLeft(rest, "/")
	depth := d.depth()
	switch {
	case 3*depth+len(rest) > maxTarget:
		return "", ErrTargetTooLong
	case rest != "":
		return strings.Repeat("../", depth) + rest, nil
	case depth > 0:
		return strings.Repeat("../", depth-1) + "..", nil
	}
	return ".", nil
}

// limitUps leaves out of a target each ".." at the root, and all before it, which has no effect.
// fromRoot is true if the result is relative to the root instead of the directory.
func (d *Dir) limitUps(ctx context.Context, target string) (rest string, fromRoot bool, err error) {
	var (
		at     = d
		off    = 0    // how far the target is walked
		kept   []byte // what is kept of it
		absent = 0    // how many names the path is below at, behind one that is missing or a file
		astray bool   // the path is behind a symlink that leads nowhere
		failed bool   // the path leads nowhere: it was astray, or absent was above 0
		hops   = 1    // the symlink itself
		r      = newResolver()
	)
	if strings.HasPrefix(target, "/") {
		at, off, fromRoot = d.top(), 1, true
	}
	for last := lastUp(target); off < last; {
		name, _, _ := strings.Cut(target[off:], "/")
		keep := true
		switch {
		case name == "" || name == ".":
		case name == ".." && astray:
			keep = false
		case name == ".." && absent > 0:
			absent--
		case name == ".." && at.parent != nil:
			at = at.parent
		case name == "..":
			keep = false
			if !failed {
				kept, fromRoot = nil, true
			}
		case astray:
		case absent > 0:
			absent++
		default:
			before := hops
			to, ok, err := r.follow(ctx, at, name, &hops)
			switch {
			case err != nil:
				return "", false, err
			case ok:
				at = to
			case hops != before:
				astray = true
			default:
				absent = 1
			}
			failed = failed || !ok
		}
		end := min(off+len(name)+1, len(target))
		if keep {
			kept = append(kept, target[off:end]...)
		}
		off = end
	}
	return string(kept) + target[off:], fromRoot, nil
}

// lastUp gives the end of the last ".." in a path; 0: it has none.
func lastUp(path string) int {
	for end := len(path); end > 0; {
		start := strings.LastIndexByte(path[:end], '/') + 1
		if path[start:end] == ".." {
			return end
		}
		end = start - 1
	}
	return 0
}
