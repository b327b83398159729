package fs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry/ref"
)

// uploadDir is upload/ of a repository, as an entry of the tree. Below it, nodes
// show the staging area to the kernel by themselves: it changes under their hands,
// so the kernel keeps no names and no attributes of it.
type uploadDir struct {
	place
	repo ref.Repository
}

// uploads gives upload/ of a repository, or nil where this mount has none.
func (d *namespace) uploads(at place, repo *repository) entry {
	if d.tree.area == nil {
		return nil
	}
	return &uploadDir{at, repo.Repository}
}

// stat asks for no more than the attributes: a listing shows upload/ of every repository, and
// few are ever pushed to.
func (d *uploadDir) stat() stat {
	a, id := d.tree.area.Top(d.repo)
	return statOfStaged(d.place, syscall.S_IFDIR, id, a)
}

// stagedStat is the stat of a node below the upload/ that top is. The identity
// is of the node, wherever it is moved.
func stagedStat(top place, n upload.Node) stat {
	return statOfStaged(top, fileType(n), n.ID(), n.Attr())
}

func statOfStaged(top place, fileType uint32, id uint64, a upload.Attr) stat {
	return stat{identity: top.identity(digest.Digest(fmt.Sprint("staged ", id))), mode: fileType | a.Mode, size: a.Size, mtime: a.Mtime}
}

func fileType(n upload.Node) uint32 {
	switch n.(type) {
	case *upload.Dir:
		return syscall.S_IFDIR
	case *upload.Symlink:
		return syscall.S_IFLNK
	}
	return syscall.S_IFREG
}

// stagedNode is what the nodes of the staging area have in common.
type stagedNode struct {
	gofs.Inode
	top  place // upload/ itself
	node upload.Node
}

func newStaged(top place, n upload.Node) gofs.InodeEmbedder {
	switch n := n.(type) {
	case *upload.Dir:
		return &stagedDir{stagedNode: stagedNode{top: top, node: n}, dir: n}
	case *upload.File:
		return &stagedFile{stagedNode: stagedNode{top: top, node: n}, file: n}
	case *upload.Symlink:
		return &stagedLink{stagedNode: stagedNode{top: top, node: n}, link: n}
	}
	panic("fs: what is staged is a directory, a file or a symlink")
}

// show shows another node of the same upload/ to the kernel.
func (n *stagedNode) show(ctx context.Context, other upload.Node, out *fuse.EntryOut) *gofs.Inode {
	st := n.fill(other, &out.Attr)
	return n.NewInode(ctx, newStaged(n.top, other), st.stable())
}

func (n *stagedNode) fill(of upload.Node, out *fuse.Attr) stat {
	st, a := stagedStat(n.top, of), of.Attr()
	fillAttr(n.top.tree, st, out)
	out.Uid, out.Gid = a.UID, a.GID
	return st
}

// where is the place of this moment.
func (n *stagedNode) where() place { return place{n.top.tree, n.Path(nil)} }

// errBadName is of a name that nothing in its directory can have.
var errBadName = errors.New("nothing can be pushed under this name")

// fail gives the errno of an operation on a name in this directory, or on this
// node where that is "".
func (n *stagedNode) fail(ctx context.Context, op, name string, err error) syscall.Errno {
	if errors.Is(err, ref.ErrInvalid) {
		err = fmt.Errorf("%w: %w", errBadName, err)
	}
	return n.where().at(name).fail(ctx, op, err)
}

// mayChange says whether the caller may change anything: who mounted may, and root.
// The mount goes without the kernel's own checks, as those would refuse by
// permission what is refused because nothing can be written there.
func (n *stagedNode) mayChange(ctx context.Context) syscall.Errno {
	return n.may(ctx, fuse.W_OK)
}

// may says whether the caller has the permissions of a mask. What is given to a
// group isn't looked at: the kernel doesn't tell all groups of a caller.
func (n *stagedNode) may(ctx context.Context, mask uint32) syscall.Errno {
	c, ok := fuse.FromContext(ctx)
	if !ok || c.Uid == 0 || c.Uid == n.top.tree.uid {
		return 0
	}
	if mask&fuse.W_OK != 0 || n.node.Attr().Mode&mask != mask {
		return syscall.EACCES
	}
	return 0
}

// forMac says whether a name is one that macOS puts beside every file.
func forMac(name string) bool { return name == ".DS_Store" || strings.HasPrefix(name, "._") }

func (n *stagedNode) Access(ctx context.Context, mask uint32) syscall.Errno { return n.may(ctx, mask) }

func (n *stagedNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.fill(n.node, &out.Attr)
	return 0
}

// mayGive says whether the caller may give a file away. A disk says EPERM to a user who isn't
// root. Here it changes nothing instead: umoci and tar end at that error, and cp -p may not
// change the permissions of a file that it gave away.
func mayGive(ctx context.Context) bool {
	caller, ok := fuse.FromContext(ctx)
	return !ok || caller.Uid == 0
}

// Setattr changes what a chmod, chown, utimens or truncate asks for. Access times
// aren't kept.
func (n *stagedNode) Setattr(ctx context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if errno := n.mayChange(ctx); errno != 0 {
		return errno
	}
	var c upload.Change
	if v, ok := in.GetMode(); ok {
		c.Mode = &v
	}
	if v, ok := in.GetUID(); ok && mayGive(ctx) {
		c.UID = &v
	}
	if v, ok := in.GetGID(); ok {
		c.GID = &v
	}
	if v, ok := in.GetMTime(); ok {
		c.Mtime = &v
	}
	op := "setattr"
	if v, ok := in.GetSize(); ok {
		size := int64(v)
		c.Size, op = &size, "truncate"
	}
	ctx, stop := heeding(ctx)
	defer stop()
	if err := n.node.Set(ctx, c); err != nil {
		return n.fail(ctx, op, "", err)
	}
	n.fill(n.node, &out.Attr)
	return 0
}

// Setxattr: ENOTSUP is what cp, install and rsync do without.
func (n *stagedNode) Setxattr(context.Context, string, []byte, uint32) syscall.Errno {
	return syscall.ENOTSUP
}

func (n *stagedNode) Removexattr(context.Context, string) syscall.Errno { return syscall.ENOTSUP }
