package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// move describes one rename(2) of a node.
type move struct {
	from    *Dir
	name    string
	n       Node
	to      *Dir
	newName string
	replace bool // it may replace a node that has the new name
}

// back is the move that undoes m.
func (m move) back() move {
	return move{from: m.to, name: m.newName, n: m.n, to: m.from, newName: m.name}
}

// Rename moves a node for a program (nil: not known). With replace it may replace a node that has
// the new name. A file whose new name is a digest must have that digest. Rename pushes the file
// by the role of its new place. If the push fails, Rename moves the node back, unless it has
// replaced another node, which is gone.
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
		// The move back is as rename(2) has it, and lets the same command be tried again.
		// It happens also if the caller was interrupted, because it waits only for the
		// disk.
		_ = r.move(r.area.ctx, m.back(), by) // if it fails, the node stays
	}
	return err
}

// commitMoved pushes a node by the role of its new place.
func (r *Root) commitMoved(ctx context.Context, n Node) error {
	switch n := n.(type) {
	case *File:
		n.anew()
		if r.roleOf(n).kind == namedBlob && n.staysWritten(ctx) {
			return nil // it may be half a blob, and its close pushes it
		}
		return r.commit(ctx, n)
	case *Symlink:
		return r.commitLink(ctx, n)
	case *Dir:
		return r.commitAll(ctx, n)
	}
	return nil
}

// releaseFor is how long a rename waits for a writer to be gone. The kernel tells of the last close
// behind the program's back, so that the rename of a closed file may come before it.
const releaseFor = 100 * time.Millisecond

// staysWritten says whether a program has the file open for writing, and still has after releaseFor.
func (f *File) staysWritten(ctx context.Context) bool {
	for end := time.Now().Add(releaseFor); f.isWritten(); {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return true
		}
		if time.Now().After(end) {
			return true
		}
	}
	return false
}

// nodeAt gives the node with a name, or nil, and the role of its place.
func (r *Root) nodeAt(d *Dir, name string) (Node, role) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.children[name], roleAt(d, name)
}

// anew makes the next commit push the file again, because its place is another one.
func (f *File) anew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes++
}

// move moves a node on the disk and in the tree.
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

// moveStaged moves a node on the disk. A file that stands for a blob may be missing there.
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

// movable checks a move and gives its paths on the disk. The shape turn is held.
func (r *Root) movable(m move) (from, to string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.from.children[m.name] != m.n {
		return "", "", fs.ErrNotExist // moved or removed meanwhile
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

// fits says with an error why a node can't have its new place; nil: it can. Root.mu is held.
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

// moved gives a node its new place in the tree. The shape turn is held.
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
		n.moved(promised(m.to, m.newName), isUnnamed(m.to, m.newName))
	case *Dir:
		// A deferred push under the old name never becomes a tag.
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
