package upload

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// A symlink at the place of a blob, or of an index.json, counts as the file that it leads to
// inside its layout: some programs keep one copy of a blob for several layouts that way. A
// symlink that leads out of its layout is refused there. Any other symlink is only staged.

// maxLinks is how many symlinks one path may lead through, as in Linux (path_resolution(7)).
const maxLinks = 40

// checkLink refuses a symlink at the place of a blob, a manifest or an index.json, or of a
// directory of blobs, that leads out of its layout. Root.mu is held.
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

// resolve finds the node that a target means in a directory; nil: it isn't there yet.
// inside is false if the path leaves the layout, or leads through more than maxLinks
// symlinks. Root.mu is held.
func (r *Root) resolve(d *Dir, target string, within *Dir) (n Node, inside bool) {
	hops := maxLinks
	return r.resolvePart(d, target, within, &hops)
}

// resolvePart is resolve of a target that stands in a path. hops is how many symlinks the
// whole path may still lead through. Root.mu is held.
func (r *Root) resolvePart(d *Dir, target string, within *Dir, hops *int) (n Node, inside bool) {
	*hops--
	if strings.HasPrefix(target, "/") || *hops < 0 {
		return nil, false
	}
	at := d
	absent := 0 // components that aren't there, below at
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
		absent++ // a file has nothing below, and nothing neither
	}
	return n, true
}

// leadsTo gives the file that a symlink leads to, or nil. Root.mu is held.
func (r *Root) leadsTo(l *Symlink) *File {
	if l.parent == nil {
		return nil
	}
	n, _ := r.resolve(l.parent, l.target, l.parent.layoutDir())
	f, _ := n.(*File)
	return f
}

// linkedRole gives the role that a file has by a symlink. Root.mu is held.
func (r *Root) linkedRole(f *File) role {
	for l := range r.links {
		if r.leadsTo(l) == f {
			return roleAt(l.parent, l.name)
		}
	}
	return role{}
}

// countLink keeps in links whether a symlink stands where a blob or an index.json is looked
// for. mu is held.
func (r *Root) countLink(l *Symlink) {
	switch roleAt(l.parent, l.name).kind {
	case blob, index:
		r.links[l] = true
	default:
		delete(r.links, l)
	}
}

// countLinks is countLink of all symlinks in a directory and below, which has another name
// now. mu is held.
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

// commitLink pushes the file that a new symlink leads to. A symlink at another place may be
// on the way of those that count.
func (r *Root) commitLink(ctx context.Context, l *Symlink) error {
	var errs []error
	for _, l := range r.concerned(l) {
		if f := r.newlyLinked(l); f != nil {
			errs = append(errs, r.commit(ctx, f))
		}
	}
	return errors.Join(errs...)
}

// concerned gives the symlinks that count and may lead to a file by a new one.
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

// newlyLinked gives the file that has its role by a symlink; nil: it isn't there, or a
// program writes it, whose close pushes it.
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
	f.anew() // another place makes another thing of the same bytes
	return f
}
