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
// kernel stops as a chroot does. What stands behind stays if no ".." of it can lead out even
// though the name came to be a directory; else those ".." are left out. The path leads nowhere
// still.
//
// Rejected: to write every ".." away that stands behind a name. That changes targets that lead
// nowhere out, and that are meant for another tree ("/proc/self/../x").
func (d *Dir) Confine(ctx context.Context, target string) (string, error) {
	if len(target) > maxTarget {
		return "", ErrTargetTooLong
	}
	// from is where target is at the root for the last time: behind a "/" at its start or
	// behind a ".." at the root. -1: nowhere.
	at, from, off := d, -1, 0
	if strings.HasPrefix(target, "/") {
		at, from, off = d.top(), 0, 1
	}
	r := newResolver()
	hops := 1 // the symlink itself
	for last := lastUp(target); off < last; {
		name, _, _ := strings.Cut(target[off:], "/")
		end := off + len(name)
		if name == ".." && at.parent == nil {
			from = end
		}
		before := hops
		to, ok, err := r.follow(ctx, at, name, &hops)
		if errors.Is(err, errLookups) {
			return "", ErrTargetLookups
		}
		if err != nil {
			return "", err
		}
		if !ok {
			depth := at.depth() + 1
			if hops != before {
				depth = 0 // name is a symlink: where it would lead can't be known
			}
			target = target[:end] + limitUps(target[end:], depth)
			break
		}
		at, off = to, end+1
	}
	if from < 0 {
		return target, nil
	}
	rest := strings.TrimLeft(target[from:], "/")
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

// limitUps leaves out each ".." of a path that would lead above the root, if the path begins at a
// depth below it and all its names are directories.
func limitUps(path string, depth int) string {
	var kept strings.Builder
	for path != "" {
		name, _, slash := strings.Cut(path, "/")
		n := len(name)
		if slash {
			n++
		}
		switch {
		case name == "" || name == ".":
		case name != "..":
			depth++
		case depth > 0:
			depth--
		default:
			path = path[n:]
			continue
		}
		kept.WriteString(path[:n])
		path = path[n:]
	}
	return kept.String()
}
