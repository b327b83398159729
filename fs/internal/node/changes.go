package node

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

var (
	_ gofs.NodeCreater   = (*dirNode)(nil)
	_ gofs.NodeTmpfiler  = (*dirNode)(nil)
	_ gofs.NodeMkdirer   = (*dirNode)(nil)
	_ gofs.NodeMknoder   = (*dirNode)(nil)
	_ gofs.NodeSymlinker = (*dirNode)(nil)
	_ gofs.NodeLinker    = (*dirNode)(nil)
	_ gofs.NodeUnlinker  = (*dirNode)(nil)
	_ gofs.NodeRmdirer   = (*dirNode)(nil)
	_ gofs.NodeRenamer   = (*dirNode)(nil)
	_ gofs.NodeFsyncer   = (*dirNode)(nil)
)

// writable gives the directory if the caller may change it, else the errno.
func (n *dirNode) writable(ctx context.Context) (Writable, syscall.Errno) {
	n.use()
	d, ok := n.entry.(Writable)
	if !ok {
		return nil, syscall.EROFS
	}
	return d, n.may(ctx, fuse.W_OK)
}

// toAdd is writable for a call that adds a name.
func (n *dirNode) toAdd(ctx context.Context, name string) (Writable, syscall.Errno) {
	d, errno := n.writable(ctx)
	if errno == 0 && forMac(name) { // the Finder goes on without these files
		return nil, syscall.EACCES
	}
	return d, errno
}

func (n *dirNode) Create(ctx context.Context, name string, flags uint32, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	d, errno := n.toAdd(ctx, name)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	by := callerOf(ctx)
	heeded, stop := by.Heed(ctx)
	defer stop()
	c, content, err := d.Create(heeded, by, name, flags, mode&permissions)
	if err != nil {
		return nil, nil, 0, n.failAt(heeded, name, "create", err)
	}
	inode := n.show(ctx, c, c.Attr(), out)
	h, opened := inode.Operations().(*fileNode).openedToWrite(content)
	return inode, h, opened, 0
}

// Tmpfile refuses, because a file without a name can't be pushed.
func (n *dirNode) Tmpfile(ctx context.Context, _ uint32, _ uint32, _ *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	if _, errno := n.writable(ctx); errno != 0 {
		return nil, nil, 0, errno
	}
	return nil, nil, 0, syscall.EOPNOTSUPP
}

func (n *dirNode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return n.addChild(ctx, "mkdir", name, out, func(ctx context.Context, d Writable) (Child, error) {
		return d.Mkdir(ctx, name, mode&permissions)
	})
}

func (n *dirNode) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return n.addChild(ctx, "symlink", name, out, func(ctx context.Context, d Writable) (Child, error) {
		return d.Symlink(ctx, name, target)
	})
}

func (n *dirNode) Link(ctx context.Context, target gofs.InodeEmbedder, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	by := callerOf(ctx)
	return n.addChild(ctx, "link", name, out, func(ctx context.Context, d Writable) (Child, error) {
		return d.Link(ctx, by, name, target.(shown).common().entry)
	})
}

// addChild makes a child of the directory, and shows it to the kernel.
func (n *dirNode) addChild(ctx context.Context, op, name string, out *fuse.EntryOut, do func(context.Context, Writable) (Child, error)) (*gofs.Inode, syscall.Errno) {
	d, errno := n.toAdd(ctx, name)
	if errno != 0 {
		return nil, errno
	}
	heeded, stop := callerOf(ctx).Heed(ctx)
	defer stop()
	c, err := do(heeded, d)
	if err != nil {
		return nil, n.failAt(heeded, name, op, err)
	}
	return n.show(ctx, c, c.Attr(), out), 0
}

// Mknod refuses, because pipes, sockets and devices can't be pushed.
func (n *dirNode) Mknod(ctx context.Context, _ string, _ uint32, _ uint32, _ *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if _, errno := n.writable(ctx); errno != 0 {
		return nil, errno
	}
	return nil, syscall.EPERM
}

func (n *dirNode) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.remove(ctx, "unlink", name, remover.RemoveFile, Writable.Unlink)
}

func (n *dirNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.remove(ctx, "rmdir", name, remover.RemoveDir, Writable.Rmdir)
}

// remove deletes a child at the registry, or removes it from the staging area.
func (n *dirNode) remove(ctx context.Context, op, name string, del func(remover, context.Context, string) error, remove func(Writable, context.Context, string) error) syscall.Errno {
	do := func(ctx context.Context) error { return del(n.entry.(remover), ctx, name) }
	if _, ok := n.entry.(remover); !ok {
		d, errno := n.writable(ctx)
		if errno != 0 {
			return errno
		}
		do = func(ctx context.Context) error { return remove(d, ctx, name) }
	}
	ctx, stop := callerOf(ctx).Heed(ctx)
	defer stop()
	if err := do(ctx); err != nil {
		return n.failAt(ctx, name, op, err)
	}
	return 0
}

// renameNoReplace is RENAME_NOREPLACE of renameat2(2). No other flag is supported.
const renameNoReplace = 1

func (n *dirNode) Rename(ctx context.Context, name string, newParent gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*dirNode)
	if !ok {
		return syscall.EROFS
	}
	d, errno := n.writable(ctx)
	if errno != 0 {
		return errno
	}
	if _, errno := to.toAdd(ctx, newName); errno != 0 {
		return errno
	}
	if flags&^renameNoReplace != 0 {
		return syscall.EINVAL // as from file systems that can't exchange names
	}
	by := callerOf(ctx)
	ctx, stop := by.Heed(ctx)
	defer stop()
	if err := d.Rename(ctx, by, name, to.dir(), newName, flags&renameNoReplace == 0); err != nil {
		return to.failAt(ctx, newName, "rename", err)
	}
	return 0
}

// Fsync does nothing: the content of a directory is kept as long as the mount lives, and files
// sync themselves.
func (n *dirNode) Fsync(context.Context, gofs.FileHandle, uint32) syscall.Errno {
	if _, ok := n.entry.(Writable); !ok {
		return syscall.ENOTSUP
	}
	return 0
}
