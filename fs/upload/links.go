package upload

import (
	"context"
	"fmt"
	"strings"
)

// A symlink where a blob, or an index.json, is looked for counts as the file that it
// leads to inside its layout, as some tools keep one copy of a blob that way. Any other
// symlink is only staged. One that leads out of its layout leads to nothing that could
// be pushed.

// maxLinks is how many symlinks are followed on one way, as in Linux.
const maxLinks = 40

// checkLink refuses a symlink that nothing could come of, where something is looked
// for. Root.mu is held.
func (r *Root) checkLink(d *Dir, name, target string) error {
	within := d.layoutDir()
	counts := roleAt(d, name).kind != staged
	holds := !temporary(name) && (d == within && name == blobsName && within.isLayout() || d.parent == within && d.name == blobsName)
	if !counts && !holds {
		return nil
	}
	if roleAt(d, name).kind == manifest {
		return fmt.Errorf("%w: a manifest is pushed from its bytes", ErrLink)
	}
	if _, inside := r.resolve(d, target, within, maxLinks); !inside {
		return fmt.Errorf("%w: %s is outside of it", ErrLink, target)
	}
	return nil
}

// resolve finds what a target means in a directory. inside is false where the way there
// leaves the layout. Nothing need be there yet. Root.mu is held.
func (r *Root) resolve(d *Dir, target string, within *Dir, links int) (n Node, inside bool) {
	if strings.HasPrefix(target, "/") || links == 0 {
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
			if n, inside = r.resolve(at, l.target, within, links-1); !inside {
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
	n, _ := r.resolve(l.parent, l.target, l.parent.layoutDir(), maxLinks)
	f, _ := n.(*File)
	return f
}

// linkedRole is the role that a symlink gives a file which has none of its own. Root.mu
// is held.
func (r *Root) linkedRole(f *File) role {
	for l := range r.links {
		if role := roleAt(l.parent, l.name); (role.kind == blob || role.kind == index) && r.leadsTo(l) == f {
			return role
		}
	}
	return role{}
}

// commitLink pushes the file that a symlink leads to, now that it is one of a layout.
func (r *Root) commitLink(ctx context.Context, l *Symlink) error {
	f := r.newlyLinked(l)
	if f == nil {
		return nil
	}
	return r.commit(ctx, f)
}

// newlyLinked gives the file that a symlink makes something of; nil where it isn't
// there, or is being written: its close tells.
func (r *Root) newlyLinked(l *Symlink) *File {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.leadsTo(l)
	if f == nil || r.linkedRole(f).kind == staged {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writers > 0 {
		return nil
	}
	f.changes++ // another place makes another thing of the same bytes
	return f
}
