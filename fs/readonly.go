package fs

import (
	"context"
	"strings"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Nothing outside upload/ changes by being written to. That is said here, and for
// everybody: a mount that can be written to goes without the kernel's checks of
// permissions, by which root would be let through and others be told something else.
var (
	_ gofs.NodeAccesser      = (*dirNode)(nil)
	_ gofs.NodeSetattrer     = (*dirNode)(nil)
	_ gofs.NodeSetxattrer    = (*dirNode)(nil)
	_ gofs.NodeRemovexattrer = (*dirNode)(nil)
	_ gofs.NodeCreater       = (*dirNode)(nil)
	_ gofs.NodeTmpfiler      = (*dirNode)(nil)
	_ gofs.NodeMkdirer       = (*dirNode)(nil)
	_ gofs.NodeMknoder       = (*dirNode)(nil)
	_ gofs.NodeSymlinker     = (*dirNode)(nil)
	_ gofs.NodeLinker        = (*dirNode)(nil)
	_ gofs.NodeRenamer       = (*dirNode)(nil)
)

func (n *dirNode) Access(_ context.Context, mask uint32) syscall.Errno {
	return readOnly(mask)
}

func (n *dirNode) Setattr(context.Context, gofs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EROFS
}

func (n *dirNode) Setxattr(_ context.Context, attr string, _ []byte, _ uint32) syscall.Errno {
	return changeXattr(attr)
}

func (n *dirNode) Removexattr(_ context.Context, attr string) syscall.Errno { return changeXattr(attr) }

func (n *dirNode) Create(context.Context, string, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EROFS
}

func (n *dirNode) Tmpfile(context.Context, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, gofs.FileHandle, uint32, syscall.Errno) {
	return nil, nil, 0, syscall.EROFS
}

func (n *dirNode) Mkdir(context.Context, string, uint32, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (n *dirNode) Mknod(context.Context, string, uint32, uint32, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (n *dirNode) Symlink(context.Context, string, string, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (n *dirNode) Link(context.Context, gofs.InodeEmbedder, string, *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return nil, syscall.EROFS
}

func (n *dirNode) Rename(context.Context, string, gofs.InodeEmbedder, string, uint32) syscall.Errno {
	return syscall.EROFS
}

var (
	_ gofs.NodeAccesser      = (*fileNode)(nil)
	_ gofs.NodeSetattrer     = (*fileNode)(nil)
	_ gofs.NodeSetxattrer    = (*fileNode)(nil)
	_ gofs.NodeRemovexattrer = (*fileNode)(nil)
	_ gofs.NodeSetattrer     = (*linkNode)(nil)
	_ gofs.NodeSetxattrer    = (*linkNode)(nil)
	_ gofs.NodeRemovexattrer = (*linkNode)(nil)
)

func (n *fileNode) Access(_ context.Context, mask uint32) syscall.Errno {
	if mask&fuse.X_OK != 0 {
		return syscall.EACCES
	}
	return readOnly(mask)
}

func (n *fileNode) Setattr(context.Context, gofs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EROFS
}

func (n *fileNode) Setxattr(_ context.Context, attr string, _ []byte, _ uint32) syscall.Errno {
	return changeXattr(attr)
}

func (n *fileNode) Removexattr(_ context.Context, attr string) syscall.Errno {
	return changeXattr(attr)
}

func (n *linkNode) Setattr(context.Context, gofs.FileHandle, *fuse.SetAttrIn, *fuse.AttrOut) syscall.Errno {
	return syscall.EROFS
}

func (n *linkNode) Setxattr(_ context.Context, attr string, _ []byte, _ uint32) syscall.Errno {
	return changeXattr(attr)
}

func (n *linkNode) Removexattr(_ context.Context, attr string) syscall.Errno {
	return changeXattr(attr)
}

// readOnly is the answer to access(2) where nothing can be written.
func readOnly(mask uint32) syscall.Errno {
	if mask&fuse.W_OK != 0 {
		return syscall.EROFS
	}
	return 0
}

// changeXattr is the answer to a change of an extended attribute. Container runtimes that
// relabel a volume (podman -v …:z, seen 2020) take EROFS for a failure, and pass over
// ENOTSUP: a file system that has no labels.
func changeXattr(attr string) syscall.Errno {
	if strings.HasPrefix(attr, "security.") {
		return syscall.ENOTSUP
	}
	return syscall.EROFS
}
