package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// move is one rename(2) of a node.
type move struct {
	from    *Dir
	name    string
	n       Node
	to      *Dir
	newName string
	replace bool // it may take the place of a node with the new name
}

// back is the move that undoes one.
func (m move) back() move {
	return move{from: m.to, name: m.newName, n: m.n, to: m.from, newName: m.name}
}

// Rename moves a node for a program (nil: not known). replace says that it may take the place
// of a node with the new name. A file that gets the name of a digest must have it. The file
// is pushed by the role of its new place. If that fails nothing is renamed, unless another
// node lost its place, which is gone then.
func (d *Dir) Rename(ctx context.Context, name string, to *Dir, newName string, replace bool, by Program) error {
	r := d.root
	if to.root != r {
		return syscall.EXDEV
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	n, _ := r.nodeAt(d, name)
	if n == nil {
		return fs.ErrNotExist
	}
	if d == to && name == newName {
		return nil
	}
	defer r.busy(to)()
	old, role := r.nodeAt(to, newName)
	if f, ok := n.(*File); ok {
		if err := r.precheck(ctx, f, role); err != nil {
			return err
		}
	}
	m := move{d, name, n, to, newName, replace}
	if err := r.move(ctx, m, by); err != nil {
		return err
	}
	err := r.commitMoved(ctx, n)
	if err != nil && old == nil {
		// As rename(2) has it, and so that the same command can be tried again. Whoever was
		// interrupted gets this all the same: it waits for no more than the disk.
		_ = r.move(r.area.ctx, m.back(), by) // else it stays where it is
	}
	return err
}

// commitMoved pushes what a node is at its new place.
func (r *Root) commitMoved(ctx context.Context, n Node) error {
	switch n := n.(type) {
	case *File:
		n.anew()
		return r.commit(ctx, n)
	case *Symlink:
		return r.commitLink(ctx, n)
	case *Dir:
		return r.commitAll(ctx, n)
	}
	return nil
}

// nodeAt gives the node that has a name, or nil, and the role of that place.
func (r *Root) nodeAt(d *Dir, name string) (Node, role) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.children[name], roleAt(d, name)
}

// anew makes the next commit push the file again: its role is that of another place.
func (f *File) anew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes++
}

// move moves a node, on the disk and in the tree.
func (r *Root) move(ctx context.Context, m move, by Program) error {
	if err := r.reshape(ctx); err != nil {
		return err
	}
	defer r.shape.give()
	from, to, err := r.movable(m)
	if err != nil {
		return err
	}
	if err := moveStaged(from, to, m.n); err != nil {
		return err
	}
	r.moved(m, by)
	return nil
}

// moveStaged moves a node on the disk, which may not be there: a file may stand for a blob.
func moveStaged(from, to string, n Node) error {
	if _, isDir := n.(*Dir); isDir { // os.Rename replaces no directory
		if err := removeStaged(to); err != nil {
			return err
		}
	}
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		return removeStaged(to)
	}
	if err != nil {
		return fmt.Errorf("staging area: %w", err)
	}
	return nil
}

// movable gives the paths of a move that can be made. The shape's turn is held.
func (r *Root) movable(m move) (from, to string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.from.children[m.name] != m.n {
		return "", "", fs.ErrNotExist // meanwhile
	}
	if err := m.fits(); err != nil {
		return "", "", err
	}
	if s, ok := m.n.(*Symlink); ok {
		if err := r.checkLink(m.to, m.newName, s.target); err != nil {
			return "", "", err
		}
	}
	target := header{root: r, parent: m.to, name: m.newName}
	return headerOf(m.n).path(), target.path(), nil
}

// fits says whether a node can have its new place. Root.mu is held.
func (m move) fits() error {
	dir, isDir := m.n.(*Dir)
	switch old := m.to.children[m.newName].(type) {
	case nil:
		if err := m.to.vacant(m.newName, isDir); err != nil {
			return err
		}
	case *Dir:
		switch {
		case !m.replace:
			return syscall.EEXIST
		case !isDir:
			return syscall.EISDIR
		case len(old.children) > 0:
			return syscall.ENOTEMPTY
		}
	default:
		switch {
		case !m.replace:
			return syscall.EEXIST
		case isDir:
			return syscall.ENOTDIR
		}
	}
	for p := m.to; isDir && p != nil; p = p.parent {
		if p == dir {
			return syscall.EINVAL
		}
	}
	return nil
}

// moved gives a node its new place in the tree. The shape's turn is held.
func (r *Root) moved(m move, by Program) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(m.to, m.newName)
	h := headerOf(m.n)
	delete(m.from.children, m.name)
	h.parent, h.name = m.to, m.newName
	m.to.children[m.newName] = m.n
	delete(m.to.remote, m.newName)
	delete(m.to.gone, m.newName)
	switch n := m.n.(type) {
	case *File:
		r.unstage(n)
		r.giveUp(n.deferred)
		n.deferred = nil
		n.moved(promised(m.to, m.newName))
	case *Dir:
		// The old name was never meant as a tag, where that is still to come.
		r.giveUp(n.layout.deferred)
		n.layout.deferred, n.layout.versions = nil, 0
		if m.from == r.top {
			r.area.records.drop(r.repo, m.name, Waiting)
		}
		r.countLinks(n)
		r.touchBy(n, by)
	case *Symlink:
		r.countLink(n)
	}
	if m.name == indexName && m.from.isLayout() {
		m.from.unlist()
	}
	r.touchBy(m.from, by)
	r.touchBy(m.to, by)
}
