package upload

import (
	"context"
	"errors"
	"io/fs"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
)

// maxRemote is how many lookups in one directory are remembered at most.
const maxRemote = 1024

// Lookup finds a node by name. For a digest in a layout's blobs/ that isn't staged, it asks the
// registry with a HEAD request.
func (d *Dir) Lookup(ctx context.Context, name string) (Node, error) {
	n, err := d.Staged(ctx, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return n, err
	}
	r := d.root
	dgst, ask := d.asks(name)
	if !ask {
		return nil, fs.ErrNotExist
	}
	defer r.busy(d)()
	size, err := r.area.o.Tree.Blob(ctx, r.repo, dgst)
	if errors.Is(err, registry.ErrDenied) {
		// Many registries deny access to a repository that doesn't exist yet. A push
		// tells if the denial is real.
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	return d.answered(name, Blob{r.repo, dgst, size}), nil
}

// Staged finds a staged node by name, without asking the registry. It is for a program that is
// about to make the name and expects it to be new: cp and tar open with O_EXCL, and fail if the
// name exists.
func (d *Dir) Staged(ctx context.Context, name string) (Node, error) {
	if err := d.awaitEmpty(ctx, name); err != nil {
		return nil, err
	}
	r := d.root
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := d.children[name]; ok {
		return r.shown(n), nil
	}
	if files := r.namedBlobs(roleAt(d, name)); len(files) == 1 {
		return files[0], nil
	}
	return nil, fs.ErrNotExist
}

// New says whether a program made the directory, so that it has only what programs put into it.
func (d *Dir) New() bool { return d.made }

// Asks says whether Lookup asks the registry for a name that isn't staged.
func (d *Dir) Asks(name string) bool {
	_, ask := d.asks(name)
	return ask
}

// asks says whether Lookup asks the registry for a name that isn't staged, and for which digest.
func (d *Dir) asks(name string) (digest.Digest, bool) {
	d.root.mu.Lock()
	defer d.root.mu.Unlock()
	role := roleAt(d, name)
	return role.digest, role.kind == blob && !d.gone[name]
}

// answered gives the file that stands for a blob of the registry.
func (d *Dir) answered(name string, b Blob) Node {
	r := d.root
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := d.children[name]; ok { // made meanwhile
		return n
	}
	if f := d.remote[name]; f != nil {
		return f
	}
	f := newFile(r.header(d, name, 0o444))
	f.content, f.size, f.pushed = b, b.Size, true
	if len(d.remote) >= maxRemote || d.remote == nil {
		d.remote = map[string]*File{}
	}
	d.remote[name] = f
	return f
}

// awaitEmpty waits for the push of a file without bytes, which begins after its close.
func (d *Dir) awaitEmpty(ctx context.Context, name string) error {
	emptied := d.emptied(name)
	if emptied == nil {
		return nil
	}
	select {
	case <-emptied:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// emptied gives a channel that is closed when the push of a file without bytes has ended; nil:
// there is none.
func (d *Dir) emptied(name string) <-chan struct{} {
	d.root.mu.Lock()
	defer d.root.mu.Unlock()
	f, ok := d.children[name].(*File)
	if !ok {
		return nil
	}
	return f.emptyPushed()
}

// emptyPushed gives a channel that is closed when the push of the file without bytes has ended;
// nil: there is none.
func (f *File) emptyPushed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.emptyPush
}

// takeIn makes a staged file of a file that only the registry has, because somebody is about to
// write to it.
func (r *Root) takeIn(ctx context.Context, f *File) error {
	if !r.isRemote(f) {
		return nil
	}
	if err := r.reshape(ctx); err != nil {
		return err
	}
	defer r.shape.give()
	return r.takeInRemote(f)
}

// isRemote says whether a file is only at the registry.
func (r *Root) isRemote(f *File) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := f.parent
	return d != nil && d.children[f.name] == nil
}

// takeInRemote makes a staged file of a file that only the registry has. The shape turn is held.
func (r *Root) takeInRemote(f *File) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := f.parent
	if d == nil || d.children[f.name] != nil {
		return nil // taken in meanwhile
	}
	if len(r.namedBlobs(roleAt(d, f.name))) > 1 {
		return ErrTwoNames
	}
	delete(d.remote, f.name)
	d.children[f.name] = f
	return nil
}

// shown gives the node to show for n. A blob that was pushed under a name of its own is shown as
// a symlink to its digest. mu is held.
func (r *Root) shown(n Node) Node {
	f, ok := n.(*File)
	if !ok || roleAt(f.parent, f.name).kind != namedBlob {
		return n
	}
	d := f.pushedAs()
	if d == "" {
		return n
	}
	target := d.Algorithm().String() + "/" + d.Encoded()
	if f.link == nil || f.link.target != target { // the kernel caches a symlink's target
		f.link = &Symlink{r.header(f.parent, f.name, 0o777), target}
	}
	return f.link
}

// pushedAs gives the digest of the bytes if the registry has them; "": it lacks them.
func (f *File) pushedAs() digest.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.pushed {
		return ""
	}
	return f.known()
}

// namedBlobs finds the files in upload/blobs/ that have names of their own and were pushed with
// the digest of a role. A program that writes through such a file's symlink means that file. mu
// is held.
func (r *Root) namedBlobs(role role) (found []*File) {
	blobs, ok := r.top.children[blobsName].(*Dir)
	if !ok || role.kind != blob || role.layout != r.top {
		return nil
	}
	for _, n := range blobs.children {
		if f, ok := n.(*File); ok && f.isPushedAs(role.digest) {
			found = append(found, f)
		}
	}
	return found
}

// hide keeps the registry from being asked for a name that was removed. Root.mu is held.
func (d *Dir) hide(name string) {
	if f := d.remote[name]; f != nil {
		f.parent = nil
	}
	delete(d.remote, name)
	if roleAt(d, name).kind != blob {
		return
	}
	if len(d.gone) >= maxRemote {
		clear(d.gone)
	}
	if d.gone == nil {
		d.gone = map[string]bool{}
	}
	d.gone[name] = true
}
