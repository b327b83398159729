package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocifs/ocifs/fs/upload"
)

// stagedDir is a directory of the staging area as the kernel sees it.
type stagedDir struct {
	stagedNode
	dir *upload.Dir
}

var (
	_ gofs.NodeAccesser       = (*stagedDir)(nil)
	_ gofs.NodeGetattrer      = (*stagedDir)(nil)
	_ gofs.NodeSetattrer      = (*stagedDir)(nil)
	_ gofs.NodeSetxattrer     = (*stagedDir)(nil)
	_ gofs.NodeRemovexattrer  = (*stagedDir)(nil)
	_ gofs.NodeFsyncer        = (*stagedDir)(nil)
	_ gofs.NodeLookuper       = (*stagedDir)(nil)
	_ gofs.NodeOpendirHandler = (*stagedDir)(nil)
	_ gofs.NodeCreater        = (*stagedDir)(nil)
	_ gofs.NodeMkdirer        = (*stagedDir)(nil)
	_ gofs.NodeSymlinker      = (*stagedDir)(nil)
	_ gofs.NodeLinker         = (*stagedDir)(nil)
	_ gofs.NodeMknoder        = (*stagedDir)(nil)
	_ gofs.NodeUnlinker       = (*stagedDir)(nil)
	_ gofs.NodeRmdirer        = (*stagedDir)(nil)
	_ gofs.NodeRenamer        = (*stagedDir)(nil)
)

func (n *stagedDir) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if errno := n.may(ctx, fuse.X_OK); errno != 0 {
		return nil, errno
	}
	bounded, cancel := n.top.tree.bound(ctx)
	defer cancel()
	found, err := n.dir.Staged(bounded, name)
	if errors.Is(err, fs.ErrNotExist) && n.dir.Asks(name) && !n.isMade(ctx) {
		found, err = n.dir.Lookup(bounded, name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		// A time-out of its own, however short, makes go-fuse say ENOENT without one,
		// which the kernel doesn't keep: what isn't here now may be in a moment.
		out.SetEntryTimeout(time.Nanosecond)
		return nil, syscall.ENOENT
	}
	if err != nil {
		return nil, n.fail(bounded, "lookup", name, err)
	}
	return n.show(ctx, found, out), 0
}

func (n *stagedDir) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if errno := n.may(ctx, fuse.R_OK); errno != 0 {
		return nil, 0, errno
	}
	list := []fuse.DirEntry{{Name: ".", Mode: syscall.S_IFDIR, Ino: n.StableAttr().Ino}, {Name: "..", Mode: syscall.S_IFDIR}}
	if _, p := n.Parent(); p != nil {
		list[1].Ino = p.StableAttr().Ino
	}
	for _, e := range n.dir.List() {
		st := stagedStat(n.top, e.Node)
		list = append(list, fuse.DirEntry{Name: e.Name, Mode: st.mode & syscall.S_IFMT, Ino: st.ino})
	}
	return gofs.NewListDirStream(list), 0, 0
}

// isMade says whether a program looks a name up to make it anew. An unknown intent counts as
// one in a directory that a program made.
func (n *stagedDir) isMade(ctx context.Context) bool {
	switch intentOf(ctx) {
	case makes:
		return true
	case looks:
		return false
	}
	return n.dir.New()
}

// mayAdd says whether the caller may give something a name here.
func (n *stagedDir) mayAdd(ctx context.Context, name string) syscall.Errno {
	if errno := n.mayChange(ctx); errno != 0 {
		return errno
	}
	if forMac(name) { // the Finder goes on without them
		return syscall.EACCES
	}
	return 0
}

func (n *stagedDir) Create(ctx context.Context, name string, flags uint32, mode uint32, out *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	if errno := n.mayAdd(ctx, name); errno != 0 {
		return nil, nil, 0, errno
	}
	const made = syscall.O_EXCL | syscall.O_RDWR // as mkstemp(3) makes files, for nobody else
	manner := upload.Openly
	if flags&made == made && mode&0o077 == 0 {
		manner = upload.Privately
	}
	ctx, stop := heeding(ctx)
	defer stop()
	f, h, err := n.dir.Create(ctx, name, mode&0o7777, manner, programOf(ctx))
	if err != nil {
		return nil, nil, 0, n.fail(ctx, "create", name, err)
	}
	inode := n.show(ctx, f, out)
	return inode, &stagedHandle{inode.Operations().(*stagedFile), h}, fuse.FOPEN_DIRECT_IO, 0
}

func (n *stagedDir) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if errno := n.mayAdd(ctx, name); errno != 0 {
		return nil, errno
	}
	ctx, stop := heeding(ctx)
	defer stop()
	d, err := n.dir.Mkdir(ctx, name, mode&0o7777)
	if err != nil {
		return nil, n.fail(ctx, "mkdir", name, err)
	}
	return n.show(ctx, d, out), 0
}

func (n *stagedDir) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if errno := n.mayAdd(ctx, name); errno != 0 {
		return nil, errno
	}
	ctx, stop := heeding(ctx)
	defer stop()
	s, err := n.dir.Symlink(ctx, name, target)
	if err != nil {
		return nil, n.fail(ctx, "symlink", name, err)
	}
	return n.show(ctx, s, out), 0
}

// errNoBlob is of a link to what isn't a blob of a repository.
var errNoBlob = errors.New("only blobs can be linked to")

// Link gives a name here to a blob of any repository, which pushes it.
func (n *stagedDir) Link(ctx context.Context, target gofs.InodeEmbedder, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if errno := n.mayAdd(ctx, name); errno != 0 {
		return nil, errno
	}
	b, ok := blobOf(target)
	if !ok {
		return nil, n.fail(ctx, "link", name, fmt.Errorf("%s: %w", target.EmbeddedInode().Path(nil), errNoBlob))
	}
	ctx, stop := heeding(ctx)
	defer stop()
	f, err := n.dir.Link(ctx, name, b)
	if err != nil {
		return nil, n.fail(ctx, "link", name, err)
	}
	return n.show(ctx, f, out), 0
}

// blobOf is the blob that a node shows the whole of.
func blobOf(n gofs.InodeEmbedder) (upload.Blob, bool) {
	switch n := n.(type) {
	case *fileNode:
		if b, ok := n.file.(*blobFile); ok {
			return upload.Blob{Repository: b.repo.Repository, Digest: b.digest, Size: b.size}, true
		}
	case *stagedFile:
		return n.file.Blob()
	}
	return upload.Blob{}, false
}

// Mknod: pipes, sockets and devices can't be pushed.
func (n *stagedDir) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

func (n *stagedDir) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.remove(ctx, "unlink", name, n.dir.Unlink)
}

func (n *stagedDir) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.remove(ctx, "rmdir", name, n.dir.Rmdir)
}

func (n *stagedDir) remove(ctx context.Context, op, name string, do func(context.Context, string) error) syscall.Errno {
	if errno := n.mayChange(ctx); errno != 0 {
		return errno
	}
	ctx, stop := heeding(ctx)
	defer stop()
	if err := do(ctx, name); err != nil {
		return n.fail(ctx, op, name, err)
	}
	return 0
}

func (n *stagedDir) Rename(ctx context.Context, name string, newParent gofs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*stagedDir)
	if !ok {
		return syscall.EROFS
	}
	if errno := to.mayAdd(ctx, newName); errno != 0 {
		return errno
	}
	if flags&^renameNoReplace != 0 {
		return syscall.EINVAL // as file systems say that can't exchange
	}
	ctx, stop := heeding(ctx)
	defer stop()
	if err := n.dir.Rename(ctx, name, to.dir, newName, flags&renameNoReplace == 0, programOf(ctx)); err != nil {
		return to.fail(ctx, "rename", newName, err)
	}
	return 0
}

// renameNoReplace is RENAME_NOREPLACE of renameat2(2), the one flag that is known
// here.
const renameNoReplace = 1

// Fsync has nothing to do: what a directory tells is kept for as long as the mount
// lives, and files sync themselves.
func (n *stagedDir) Fsync(context.Context, gofs.FileHandle, uint32) syscall.Errno { return 0 }
