package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/upload"
)

// stagedDir is a directory of the staging area.
type stagedDir struct{ staged }

// dir gives the directory in package upload.
func (d *stagedDir) dir() *upload.Dir {
	if top, ok := d.node.(stagedTop); ok {
		return top.area.Root(top.repo)
	}
	return d.node.(*upload.Dir)
}

// LookupFor finds a name. If a digest isn't staged, it asks the registry, unless the program is
// about to make the name: cp and tar open with O_EXCL, and fail if the name exists.
func (d *stagedDir) LookupFor(ctx context.Context, by caller.Caller, name string) (node.Child, error) {
	dir := d.dir()
	n, err := dir.Staged(ctx, name)
	if errors.Is(err, fs.ErrNotExist) && dir.Asks(name) && !makes(by, dir) {
		n, err = dir.Lookup(ctx, name)
	}
	if err != nil {
		return node.Child{}, stagedError(err)
	}
	return d.child(name, n), nil
}

// Lookup finds a name. If a digest isn't staged, it asks the registry.
func (d *stagedDir) Lookup(ctx context.Context, name string) (node.Child, error) {
	n, err := d.dir().Lookup(ctx, name)
	if err != nil {
		return node.Child{}, stagedError(err)
	}
	return d.child(name, n), nil
}

// makes says whether a program looks a name up in order to make it. If the intent isn't known,
// that is assumed in a directory that a program made.
func makes(by caller.Caller, d *upload.Dir) bool {
	switch by.Intent() {
	case caller.Makes:
		return true
	case caller.Looks:
		return false
	}
	return d.New()
}

func (d *stagedDir) List(context.Context) (node.Listing, error) {
	var cs []node.Child
	for _, e := range d.dir().List() {
		cs = append(cs, d.child(e.Name, e.Node))
	}
	return node.List(cs), nil
}

func (d *stagedDir) Create(ctx context.Context, by caller.Caller, name string, flags, mode uint32) (node.Child, node.WritableContent, error) {
	made := upload.Openly
	const private = syscall.O_EXCL | syscall.O_RDWR // as mkstemp(3) makes files
	if flags&private == private && mode&0o077 == 0 {
		made = upload.Privately
	}
	f, h, err := d.dir().Create(ctx, name, mode, made, programOf(by))
	if err != nil {
		return node.Child{}, nil, stagedError(err)
	}
	return d.child(name, f), &stagedContent{h}, nil
}

func (d *stagedDir) Mkdir(ctx context.Context, name string, mode uint32) (node.Child, error) {
	n, err := d.dir().Mkdir(ctx, name, mode)
	if err != nil {
		return node.Child{}, stagedError(err)
	}
	return d.child(name, n), nil
}

func (d *stagedDir) Symlink(ctx context.Context, name, target string) (node.Child, error) {
	n, err := d.dir().Symlink(ctx, name, target)
	if err != nil {
		return node.Child{}, stagedError(err)
	}
	return d.child(name, n), nil
}

// errNoBlob is the error of a link to something that isn't a blob of a repository.
var errNoBlob = errors.New("only blobs can be linked to")

// Link gives a name here to a blob of any repository, and pushes it.
func (d *stagedDir) Link(ctx context.Context, by caller.Caller, name string, to node.Entry) (node.Child, error) {
	b, ok := blobOf(to)
	if !ok {
		return node.Child{}, fmt.Errorf("%s: %w", to.Path(), errNoBlob)
	}
	f, err := d.dir().Link(ctx, name, b, programOf(by))
	if err != nil {
		return node.Child{}, stagedError(err)
	}
	return d.child(name, f), nil
}

func (d *stagedDir) Unlink(ctx context.Context, name string) error {
	return stagedError(d.dir().Unlink(ctx, name))
}
func (d *stagedDir) Rmdir(ctx context.Context, name string) error {
	return stagedError(d.dir().Rmdir(ctx, name))
}

func (d *stagedDir) Rename(ctx context.Context, by caller.Caller, name string, to node.Directory, newName string, replace bool) error {
	t, ok := to.(*stagedDir)
	if !ok {
		return node.ErrReadOnly
	}
	return stagedError(d.dir().Rename(ctx, name, t.dir(), newName, replace, programOf(by)))
}
