package upload

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Symlinks at the place of a blob, or of an index.json, count as the file that they lead to.
// Some programs keep one copy of a blob for several layouts that way. The file must be inside
// the same layout: a symlink that leads out of it is refused. A symlink at any other place is
// only staged.

// maxLinks is how many symlinks one path may lead through. Linux has the same limit
// (path_resolution(7)).
const maxLinks = 40

// checkLink refuses a symlink that can't be pushed where it stands. At the place of a blob or
// an index.json, a symlink must not lead out of its layout. At the place of a manifest, or of
// a directory of blobs, no symlink is allowed. Root.mu is held.
func (r *Root) checkLink(d *Dir, name, target string) error {
	within := d.layoutDir()
	counts := roleAt(d, name).kind != onlyStaged
	holds := !temporary(name) && (d == within && name == blobsName && within.isLayout() || d.parent == within && d.name == blobsName)
	if !counts && !holds {
		return nil
	}
	if roleAt(d, name).kind == manifest {
		return fmt.Errorf("%w: a manifest is pushed from its bytes", ErrLink)
	}
	if holds {
		return fmt.Errorf("%w: blobs are looked for in directories alone", ErrLink)
	}
	if _, inside := r.resolve(d, target, within); !inside {
		return fmt.Errorf("%w: %s is outside of it", ErrLink, target)
	}
	return nil
}

// resolve finds the node that a symlink's target names, seen from the directory d. n is nil
// if nothing stands there yet. inside is false if the path leaves the layout within, or leads
// through more than maxLinks symlinks. Root.mu is held.
func (r *Root) resolve(d *Dir, target string, within *Dir) (n Node, inside bool) {
	hops := maxLinks
	return r.resolvePart(d, target, within, &hops)
}

// resolvePart resolves a target that is part of a longer path. hops is how many symlinks the
// whole path may still lead through. Root.mu is held.
func (r *Root) resolvePart(d *Dir, target string, within *Dir, hops *int) (n Node, inside bool) {
	*hops--
	if strings.HasPrefix(target, "/") || *hops < 0 {
		return nil, false
	}
	at := d
	absent := 0 // path components below at that don't exist
	n = d
	for c := range strings.SplitSeq(target, "/") {
		switch {
		case c == "" || c == ".":
			continue
		case c == ".." && absent > 0:
			absent--
			n = nil
			if absent == 0 {
				n = at
			}
			continue
		case c == "..":
			if at == within || at.parent == nil {
				return nil, false
			}
			at = at.parent
			n = at
			continue
		case absent > 0:
			absent++
			n = nil
			continue
		}
		n = at.children[c]
		if l, ok := n.(*Symlink); ok {
			n, inside = r.resolvePart(at, l.target, within, hops)
			if !inside {
				return nil, false
			}
		}
		if dir, ok := n.(*Dir); ok {
			at = dir
			continue
		}
		absent++ // nothing stands below a file, nor below a missing name
	}
	return n, true
}

// leadsTo gives the file that a symlink leads to; nil if it leads to none. Root.mu is held.
func (r *Root) leadsTo(l *Symlink) *File {
	if l.parent == nil {
		return nil
	}
	n, _ := r.resolve(l.parent, l.target, l.parent.layoutDir())
	f, _ := n.(*File)
	return f
}

// linkedRole gives the role that a symlink gives to the file it leads to. The zero role means
// that no symlink in Root.links leads to the file. Root.mu is held.
func (r *Root) linkedRole(f *File) role {
	for l := range r.links {
		if r.leadsTo(l) == f {
			return roleAt(l.parent, l.name)
		}
	}
	return role{}
}

// countLink adds a symlink to Root.links if it stands at the place of a blob or an
// index.json. Otherwise it removes the symlink from there. mu is held.
func (r *Root) countLink(l *Symlink) {
	switch roleAt(l.parent, l.name).kind {
	case blob, index:
		r.links[l] = true
	default:
		delete(r.links, l)
	}
}

// countLinks calls countLink for every symlink in a directory and below it, after the
// directory has got another name. mu is held.
func (r *Root) countLinks(d *Dir) {
	for _, n := range d.children {
		switch n := n.(type) {
		case *Dir:
			r.countLinks(n)
		case *Symlink:
			r.countLink(n)
		}
	}
}

// commitLink pushes the file that a new symlink leads to. A new symlink that has no role
// itself can still complete the path of others that have one: commitLink pushes their files.
func (r *Root) commitLink(ctx context.Context, l *Symlink) error {
	var errs []error
	for _, l := range r.concerned(l) {
		if f := r.newlyLinked(l); f != nil {
			errs = append(errs, r.commit(ctx, f))
		}
	}
	return errors.Join(errs...)
}

// concerned gives the symlinks with a role whose file a new symlink may have made reachable.
// It is the new symlink alone, if that one has a role.
func (r *Root) concerned(l *Symlink) []*Symlink {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.links[l] {
		return []*Symlink{l}
	}
	var all []*Symlink
	for l := range r.links {
		if f := r.leadsTo(l); f != nil && !f.isPushedAs(roleAt(l.parent, l.name).digest) {
			all = append(all, l)
		}
	}
	return all
}

// newlyLinked gives the file that a symlink leads to, if it has a role and no program is
// writing it. Otherwise it gives nil: a file that is being written is pushed by its writer's
// close.
func (r *Root) newlyLinked(l *Symlink) *File {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.leadsTo(l)
	if f == nil || r.linkedRole(f).kind == onlyStaged {
		return nil
	}
	if f.isWritten() {
		return nil
	}
	f.anew() // the new role may push the same bytes as something else
	return f
}
