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
	made bool // by a program; else it was there from the start

	// Root.mu guards the fields below.
	children map[string]Node // only the holder of Root.shape changes it
	// remote are blobs of the registry that were looked up here, at most maxRemote. List
	// doesn't list them.
	remote map[string]*File
	// gone are the names that were removed here, at most maxRemote; nil: none. The registry
	// isn't asked for them, because a program that removes a name wants to make it anew.
	gone   map[string]bool
	layout layout // of the directory's index.json
}

// Entry is a node under its name.
type Entry struct {
	Name string
	Node Node
}

func newDir(h header) *Dir {
	return &Dir{header: h, children: map[string]Node{}, layout: newLayout(h.root.area.now)}
}

// Attr gives the attributes.
func (d *Dir) Attr() Attr { return d.attr(0) }

// Set changes attributes.
func (d *Dir) Set(_ context.Context, _ Program, c Change) error {
	d.set(c)
	return nil
}

// List gives the staged nodes, in byte order of their names. It waits for no I/O.
func (d *Dir) List() []Entry {
	es := d.entries()
	slices.SortFunc(es, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return es
}

func (d *Dir) entries() []Entry {
	d.root.mu.Lock()
	defer d.root.mu.Unlock()
	es := make([]Entry, 0, len(d.children))
	for name, n := range d.children {
		es = append(es, Entry{name, d.root.shown(n)})
	}
	return es
}

// vacant says with an error why name can't be made here; nil: it can. Root.mu is held.
func (d *Dir) vacant(name string, isDir bool) error {
	if d.children[name] != nil {
		return syscall.EEXIST
	}
	if d.parent == nil && d != d.root.top {
		return syscall.ENOENT // removed
	}
	return checkName(d, name, isDir)
}

// Create makes a file for a program (nil: not known), and opens it for writing.
func (d *Dir) Create(ctx context.Context, name string, mode uint32, made Manner, by Program) (*File, *Handle, error) {
	f, err := d.addFile(ctx, name, by, func(h header) *File {
		f := newFile(h)
		f.mode, f.made = mode, made
		return f
	})
	if err != nil {
		return nil, nil, err
	}
	h, err := f.OpenWrite(ctx, by)
	if err != nil {
		d.takeBack(name)
		return nil, nil, err
	}
	return f, h, nil
}

// takeBack removes a node that was just made, because making it failed. It goes on even if the
// caller is interrupted. It waits only for the disk.
func (d *Dir) takeBack(name string) { _ = d.Unlink(d.root.area.ctx, name) }

// Link gives a name to a blob that a repository has, for a program (nil: not known). The file is
// pushed as a copy of the blob would be.
func (d *Dir) Link(ctx context.Context, name string, b Blob, by Program) (*File, error) {
	f, err := d.addFile(ctx, name, by, func(h header) *File {
		f := newFile(h)
		f.mode, f.content, f.size, f.writer = 0o444, b, b.Size, by
		return f
	})
	if err != nil {
		return nil, err
	}
	if err := d.root.commit(ctx, f); err != nil {
		d.takeBack(name)
		return nil, err
	}
	return f, nil
}

// addFile adds a file. The file gets on the disk when it is opened.
func (d *Dir) addFile(ctx context.Context, name string, by Program, make func(header) *File) (f *File, err error) {
	r := d.root
	if err := r.reshape(ctx); err != nil {
		return nil, err
	}
	defer r.shape.give()
	f = make(r.header(d, name, 0))
	return f, r.add(f, by, func() error { return d.vacant(name, false) })
}

// Mkdir makes a directory.
func (d *Dir) Mkdir(ctx context.Context, name string, mode uint32) (*Dir, error) {
	r := d.root
	if err := r.reshape(ctx); err != nil {
		return nil, err
	}
	defer r.shape.give()
	path, err := r.vacantPath(d, name, true)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, noSpace(err)
	}
	n := newDir(r.header(d, name, mode))
	n.made = true
	return n, r.add(n, nil, nil)
}

// Symlink makes a symlink. At the place of a blob, it pushes the file that the symlink leads to.
func (d *Dir) Symlink(ctx context.Context, name, target string) (*Symlink, error) {
	s, err := d.addSymlink(ctx, name, target)
	if err != nil {
		return nil, err
	}
	if err := d.root.commitLink(ctx, s); err != nil {
		d.takeBack(name)
		return nil, err
	}
	return s, nil
}

func (d *Dir) addSymlink(ctx context.Context, name, target string) (*Symlink, error) {
	r := d.root
	if err := r.reshape(ctx); err != nil {
		return nil, err
	}
	defer r.shape.give()
	path, err := r.vacantPath(d, name, false)
	if err == nil {
		err = r.mayLink(d, name, target)
	}
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(target, path); err != nil {
		return nil, noSpace(err)
	}
	s := &Symlink{r.header(d, name, 0o777), target}
	return s, r.add(s, nil, nil)
}

// mayLink is checkLink for callers that don't hold mu.
func (r *Root) mayLink(d *Dir, name, target string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checkLink(d, name, target)
}

// vacantPath gives the path of a name that can be made in a directory. The shape turn is held.
func (r *Root) vacantPath(d *Dir, name string, isDir bool) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := header{root: r, parent: d, name: name}
	return h.path(), d.vacant(name, isDir)
}

// add puts a node into the directory in its header, for a program (nil: not known). check runs
// before that, under mu, and may refuse it. A nil check means that the caller has checked. The
// shape turn is held.
func (r *Root) add(n Node, by Program, check func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if check != nil {
		if err := check(); err != nil {
			return err
		}
	}
	h := headerOf(n)
	d, name := h.parent, h.name
	d.children[name] = n
	delete(d.remote, name)
	delete(d.gone, name)
	if s, ok := n.(*Symlink); ok {
		r.countLink(s)
	}
	r.touchBy(d, by)
	return nil
}

// Unlink removes a file or a symlink from the staging area. The registry keeps what was pushed.
func (d *Dir) Unlink(ctx context.Context, name string) error {
	r := d.root
	if err := r.reshape(ctx); err != nil {
		return err
	}
	defer r.shape.give()
	path, err := r.removable(d, name)
	if err != nil {
		return err
	}
	if err := removeStaged(path); err != nil {
		return err
	}
	r.unname(d, name)
	return nil
}

// removeStaged removes a node from the disk. The node may be missing there, because a file may
// stand for a blob.
func removeStaged(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("staging area: %w", err)
	}
	return nil
}

// removable gives the path of a file or a symlink. It fails for a directory.
func (r *Root) removable(d *Dir, name string) (path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch n := d.children[name].(type) {
	case nil:
		if d.remote[name] == nil || d.gone[name] {
			return "", fs.ErrNotExist
		}
		return d.remote[name].path(), nil
	case *Dir:
		return "", syscall.EISDIR
	default:
		return headerOf(n).path(), nil
	}
}

// unname removes the name of a file or a symlink that is gone from the disk. The shape turn is
// held.
func (r *Root) unname(d *Dir, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, isLink := d.children[name].(*Symlink)
	r.drop(d, name)
	if !isLink {
		d.hide(name)
	}
	if name == indexName && d.isLayout() {
		d.unlist()
	}
	r.touch(d) // the targets that waited may be gone
}

// drop removes the node under a name from a directory, if there is one. The node is gone from the
// disk. mu is held.
func (r *Root) drop(d *Dir, name string) {
	switch n := d.children[name].(type) {
	case *File:
		n.unlink()
		n.parent = nil
		r.unstage(n)
		r.giveUp(n.deferred)
		n.deferred = nil
	case *Symlink:
		n.parent = nil
		delete(r.links, n)
	case *Dir:
		n.parent = nil
	}
	delete(d.children, name)
}

// Rmdir removes an empty directory.
func (d *Dir) Rmdir(ctx context.Context, name string) error {
	r := d.root
	if err := r.reshape(ctx); err != nil {
		return err
	}
	defer r.shape.give()
	path, err := r.emptyDir(d, name)
	if err != nil {
		return err
	}
	if err := removeStaged(path); err != nil {
		return err
	}
	r.unnameDir(d, name)
	return nil
}

// emptyDir gives the path of a directory, if the directory is empty.
func (r *Root) emptyDir(d *Dir, name string) (path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := d.children[name].(*Dir)
	switch {
	case d.children[name] == nil:
		return "", fs.ErrNotExist
	case !ok:
		return "", syscall.ENOTDIR
	case len(n.children) > 0:
		return "", syscall.ENOTEMPTY
	}
	return n.path(), nil
}

// unnameDir removes the name of a directory that is gone from the disk. The shape turn is held.
func (r *Root) unnameDir(d *Dir, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := d.children[name].(*Dir); ok {
		n.unlist()
		n.dropReported()
	}
	r.drop(d, name)
	r.touch(d)
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
