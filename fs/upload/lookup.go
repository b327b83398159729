package upload

import (
	"context"
	"errors"
	"io/fs"

	"github.com/ocifs/ocifs/registry"
)

// maxRemote bounds what is remembered of lookups in one directory.
const maxRemote = 1024

// Lookup finds a name for a thread, by. A digest in a layout's blobs/ that isn't
// staged is there if the registry has it, which a HEAD asks; but not for the thread
// that made the directory: cp and tar know that nothing can be in it, and make their
// files with O_EXCL.
func (d *Dir) Lookup(ctx context.Context, name string, by uint32) (Node, error) {
	r := d.root
	if err := d.settle(ctx, name); err != nil {
		return nil, err
	}
	r.mu.Lock()
	n, ok := d.children[name]
	role := roleAt(d, name)
	if ok {
		n = r.shown(n)
	} else if files := r.named(role); len(files) == 1 {
		n = files[0]
	}
	gone := d.gone[name] || d.maker != 0 && d.maker == by
	r.mu.Unlock()
	if n != nil {
		return n, nil
	}
	if role.kind != blob || gone {
		return nil, fs.ErrNotExist
	}
	size, err := r.area.o.Tree.Blob(ctx, r.repo, role.digest)
	if errors.Is(err, registry.ErrDenied) {
		// Many say so of a repository that isn't there yet. Pushing tells what is true.
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, ok := d.children[name]; ok { // meanwhile
		return n, nil
	}
	if f := d.remote[name]; f != nil {
		return f, nil
	}
	f := newFile(r.header(d, name, 0o444))
	f.content, f.size, f.pushed = Blob{r.repo, role.digest, size}, size, true
	if len(d.remote) >= maxRemote || d.remote == nil {
		d.remote = map[string]*File{}
	}
	d.remote[name] = f
	return f, nil
}

// settle waits for the push of a file without a byte, which its close didn't.
func (d *Dir) settle(ctx context.Context, name string) error {
	d.root.mu.Lock()
	f, ok := d.children[name].(*File)
	d.root.mu.Unlock()
	if !ok {
		return nil
	}
	f.mu.Lock()
	emptied := f.emptied
	f.mu.Unlock()
	if emptied == nil {
		return nil
	}
	select {
	case <-emptied:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stage makes a file that only the registry has one of the staging area's, as
// someone is about to write it.
func (r *Root) stage(f *File) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := f.parent
	if d == nil || d.children[f.name] != nil || d.remote[f.name] != f {
		return nil
	}
	if len(r.named(roleAt(d, f.name))) > 1 {
		return ErrTwoNames
	}
	delete(d.remote, f.name)
	d.children[f.name] = f
	return nil
}

// shown is what a node is shown as: a blob that was pushed under a name of its own is
// a symlink to its digest. mu is held.
func (r *Root) shown(n Node) Node {
	f, ok := n.(*File)
	if !ok || roleAt(f.parent, f.name).kind != namedBlob {
		return n
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.pushed {
		return n
	}
	d := f.known()
	target := d.Algorithm().String() + "/" + d.Encoded()
	if f.link == nil || f.link.target != target { // the kernel keeps what a symlink says
		f.link = &Symlink{r.header(f.parent, f.name, 0o777), target}
	}
	return f.link
}

// named finds the files that stand in upload/blobs/ under names of their own and
// were pushed by the digest of a role: who follows the symlink of one, to write to it,
// means it. mu is held.
func (r *Root) named(role role) (found []*File) {
	blobs, ok := r.top.children[blobsName].(*Dir)
	if !ok || role.kind != blob || role.layout != r.top {
		return nil
	}
	for _, n := range blobs.children {
		f, ok := n.(*File)
		if !ok {
			continue
		}
		f.mu.Lock()
		if f.pushed && f.known() == role.digest {
			found = append(found, f)
		}
		f.mu.Unlock()
	}
	return found
}

// hide keeps the registry from answering for a name that was removed. Root.mu is held.
func (d *Dir) hide(name string) {
	delete(d.remote, name)
	if roleAt(d, name).kind != blob {
		return
	}
	if len(d.gone) >= maxRemote {
		clear(d.gone)
	}
	d.gone[name] = true
}
