package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
)

// Dir is a directory of the staging area.
type Dir struct {
	header
	children map[string]Node // guarded by Root.mu
	// remote is what the registry has, and was looked up here. It isn't listed.
	remote map[string]*File
	// gone is what was removed here: the registry still has it, and isn't asked, as
	// who removes a name wants to make it anew.
	gone   map[string]bool
	made   bool   // a program made it; else it was there from the start
	layout layout // what is known of the index, where the directory is a layout
}

// Entry is a node under its name.
type Entry struct {
	Name string
	Node Node
}

func newDir(h header) *Dir {
	return &Dir{header: h, children: map[string]Node{}, gone: map[string]bool{}, layout: newLayout()}
}

// Attr gives the attributes.
func (d *Dir) Attr() Attr { return d.attr(0) }

// Set changes attributes.
func (d *Dir) Set(c Change) error {
	d.set(c)
	return nil
}

// List gives what is staged here, in byte order.
func (d *Dir) List() []Entry {
	d.root.mu.Lock()
	defer d.root.mu.Unlock()
	es := make([]Entry, 0, len(d.children))
	for name, n := range d.children {
		es = append(es, Entry{name, d.root.shown(n)})
	}
	slices.SortFunc(es, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return es
}

// vacant says whether name can be made here. Root.mu is held.
func (d *Dir) vacant(name string, isDir bool) error {
	if d.children[name] != nil {
		return syscall.EEXIST
	}
	if d.parent == nil && d != d.root.top {
		return syscall.ENOENT // removed
	}
	return checkName(d, name, isDir)
}

// Create makes a file for a program (nil: not known) and opens it for writing. private
// says that the program made sure that the file is new and nobody else's.
func (d *Dir) Create(name string, mode uint32, private bool, by Program) (*File, *Handle, error) {
	f, err := d.create(name, mode, private, by)
	if err != nil {
		return nil, nil, err
	}
	h, err := f.Open(true, false, by)
	if err != nil {
		_ = d.Unlink(name)
		return nil, nil, err
	}
	return f, h, nil
}

func (d *Dir) create(name string, mode uint32, private bool, by Program) (f *File, err error) {
	err = d.add(name, false, by, func(r *Root) (Node, error) {
		f = newFile(r.header(d, name, mode))
		f.private = private
		return f, nil
	})
	return f, err
}

// add makes a node under a name that is free, for a program (nil: not known). make
// runs under Root.mu.
func (d *Dir) add(name string, isDir bool, by Program, make func(*Root) (Node, error)) error {
	r := d.root
	if err := r.begin(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := d.vacant(name, isDir); err != nil {
		return err
	}
	n, err := make(r)
	if err != nil {
		return noSpace(err)
	}
	d.children[name] = n
	delete(d.remote, name)
	delete(d.gone, name)
	r.touch(d, by)
	return nil
}

// Link gives a name to a blob that a repository has. It is pushed as a copy of it
// would be.
func (d *Dir) Link(ctx context.Context, name string, b Blob) (*File, error) {
	f, err := d.create(name, 0o444, false, nil)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.content, f.size = b, b.Size
	f.mu.Unlock()
	if err := d.root.commit(ctx, f); err != nil {
		_ = d.Unlink(name)
		return nil, err
	}
	return f, nil
}

// Mkdir makes a directory.
func (d *Dir) Mkdir(name string, mode uint32) (n *Dir, err error) {
	err = d.add(name, true, nil, func(r *Root) (Node, error) {
		n = newDir(r.header(d, name, mode))
		n.made = true
		return n, os.MkdirAll(n.path(), 0o700)
	})
	return n, err
}

// Symlink makes a symlink. At the place of a blob, the file that it leads to is pushed.
func (d *Dir) Symlink(ctx context.Context, name, target string) (s *Symlink, err error) {
	err = d.add(name, false, nil, func(r *Root) (Node, error) {
		if err := r.checkLink(d, name, target); err != nil {
			return nil, err
		}
		s = &Symlink{r.header(d, name, 0o777), target}
		r.countLink(s)
		return s, os.Symlink(target, s.path())
	})
	if err != nil {
		return nil, err
	}
	if err := d.root.commitLink(ctx, s); err != nil {
		_ = d.Unlink(name)
		return nil, err
	}
	return s, nil
}

// Unlink removes a file or a symlink from the staging area. The registry keeps
// what it has.
func (d *Dir) Unlink(name string) error {
	r := d.root
	if err := r.begin(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch n := d.children[name].(type) {
	case nil:
		if d.remote[name] == nil || d.gone[name] {
			return fs.ErrNotExist
		}
		d.hide(name)
	case *Dir:
		return syscall.EISDIR
	case *File:
		r.remove(d, name, n)
		d.hide(name)
	case *Symlink:
		r.removeLink(d, name, n)
	}
	if name == indexName && d.isLayout() {
		d.unlist()
	}
	r.touch(d, nil) // what waited there may be gone
	return nil
}

// removeLink takes a symlink's name away. Root.mu is held.
func (r *Root) removeLink(d *Dir, name string, s *Symlink) {
	_ = os.Remove(s.path())
	delete(d.children, name)
	s.parent = nil
	delete(r.links, s)
}

// remove takes a file's name away. Root.mu is held.
func (r *Root) remove(d *Dir, name string, f *File) {
	f.drop(f.path())
	delete(d.children, name)
	f.parent = nil
	r.unstage(f)
	r.giveUp(f.deferred)
	f.deferred = nil
}

// Rmdir removes an empty directory.
func (d *Dir) Rmdir(name string) error {
	r := d.root
	if err := r.begin(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := d.children[name].(*Dir)
	switch {
	case d.children[name] == nil:
		return fs.ErrNotExist
	case !ok:
		return syscall.ENOTDIR
	case len(n.children) > 0:
		return syscall.ENOTEMPTY
	}
	_ = os.Remove(n.path())
	n.unlist()
	n.forgetTold()
	delete(d.children, name)
	n.parent = nil
	r.touch(d, nil)
	return nil
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
	if err := r.begin(); err != nil {
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
	if err := r.move(d, name, n, to, newName, replace, by); err != nil {
		return err
	}
	replaced := old != nil
	var err error
	switch n := n.(type) {
	case *File:
		n.anew()
		err = r.commit(ctx, n)
	case *Symlink:
		err = r.commitLink(ctx, n)
	case *Dir:
		err = r.commitAll(ctx, n)
	}
	if err != nil && !replaced {
		// As rename(2) has it, and so that the same command can be tried again.
		_ = r.move(to, newName, n, d, name, false, by) // else it stays where it is
	}
	return err
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

func (r *Root) move(d *Dir, name string, n Node, to *Dir, newName string, replace bool, by Program) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	moved, isDir := n.(*Dir)
	if d.children[name] != n {
		return fs.ErrNotExist // meanwhile
	}
	switch old := to.children[newName].(type) {
	case nil:
		if err := to.vacant(newName, isDir); err != nil {
			return err
		}
	case *Dir:
		switch {
		case !replace:
			return syscall.EEXIST
		case !isDir:
			return syscall.EISDIR
		case len(old.children) > 0:
			return syscall.ENOTEMPTY
		}
		_ = os.Remove(old.path())
		old.parent = nil
	default:
		if !replace {
			return syscall.EEXIST
		}
		if isDir {
			return syscall.ENOTDIR
		}
	}
	for p := to; isDir && p != nil; p = p.parent {
		if p == moved {
			return syscall.EINVAL
		}
	}
	if s, ok := n.(*Symlink); ok {
		if err := r.checkLink(to, newName, s.target); err != nil {
			return err
		}
	}
	switch old := to.children[newName].(type) {
	case *File:
		r.remove(to, newName, old)
	case *Symlink:
		r.removeLink(to, newName, old)
	}
	h := headerOf(n)
	from := h.path()
	delete(d.children, name)
	h.parent, h.name = to, newName
	to.children[newName] = n
	delete(to.remote, newName)
	delete(to.gone, newName)
	if err := os.Rename(from, h.path()); err != nil && !errors.Is(err, os.ErrNotExist) { // it may stand for a blob
		delete(to.children, newName)
		h.parent, h.name = d, name
		d.children[name] = n
		return fmt.Errorf("staging area: %w", err)
	}
	switch n := n.(type) {
	case *File:
		r.unstage(n)
		r.giveUp(n.deferred)
		n.deferred = nil
		n.moved(promised(to, newName))
	case *Dir:
		// The old name was never meant as a tag, where that is still to come.
		r.giveUp(n.layout.deferred)
		n.layout.deferred, n.layout.versions = nil, 0
		if d == r.top {
			r.area.records.forget(r.repo, name, Waiting)
		}
		r.countLinks(n)
		r.touch(n, by)
	case *Symlink:
		r.countLink(n)
	}
	if name == indexName && d.isLayout() {
		d.unlist()
	}
	r.touch(d, by)
	r.touch(to, by)
	return nil
}

func headerOf(n Node) *header {
	switch n := n.(type) {
	case *Dir:
		return &n.header
	case *File:
		return &n.header
	case *Symlink:
		return &n.header
	}
	panic("upload: a node is a directory, a file or a symlink")
}
