package node

import (
	"context"
	"strings"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

var (
	_ gofs.NodeAccesser      = (*base)(nil)
	_ gofs.NodeSetattrer     = (*base)(nil)
	_ gofs.NodeSetxattrer    = (*base)(nil)
	_ gofs.NodeRemovexattrer = (*base)(nil)
)

// Access is access(2). It answers by the permission bits for root's rights: root may read
// everything, and may execute what anybody may execute. Nothing else is enforced.
func (b *base) Access(ctx context.Context, mask uint32) syscall.Errno {
	_, changes := b.entry.(Changeable)
	_, isFile := b.entry.(File)
	switch {
	case changes:
		return b.may(ctx, mask)
	case isFile && mask&fuse.X_OK != 0 && b.entry.Attr().Mode&0o111 == 0:
		return syscall.EACCES
	case mask&fuse.W_OK != 0:
		return syscall.EROFS
	}
	return 0
}

// may says whether the caller of a request has the permissions in a mask of access(2) here.
// Everybody may read what can't be changed. Group permissions don't count, because the kernel
// doesn't send all groups of a caller.
func (b *base) may(ctx context.Context, mask uint32) syscall.Errno {
	if _, ok := b.entry.(Changeable); !ok {
		return 0
	}
	c := callerOf(ctx)
	if c.IsRoot() || c.UID == b.kernel.o.Owner {
		return 0
	}
	if mask&fuse.W_OK != 0 || b.entry.Attr().Mode&mask != mask {
		return syscall.EACCES
	}
	return 0
}

// Setattr makes the changes of chmod, chown, utimens or truncate. Access times aren't kept.
func (b *base) Setattr(ctx context.Context, _ gofs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	b.use()
	e, ok := b.entry.(Changeable)
	if !ok {
		return syscall.EROFS
	}
	if errno := b.may(ctx, fuse.W_OK); errno != 0 {
		return errno
	}
	by := callerOf(ctx)
	var c Change
	if v, ok := in.GetMode(); ok {
		c.Mode = &v
	}
	// A disk answers EPERM to a user who gives a file away and isn't root. Here such a change
	// is ignored. An error would stop umoci and tar. If the owner did change, cp -p could no
	// longer set the permissions of the file.
	if v, ok := in.GetUID(); ok && by.IsRoot() {
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
	ctx, stop := by.Heed(ctx)
	defer stop()
	if err := e.SetAttr(ctx, by, c); err != nil {
		return b.fail(ctx, op, err)
	}
	b.getattr(out)
	return 0
}

// Setxattr refuses. In a writable place it fails with ENOTSUP, which cp, install and rsync
// ignore.
func (b *base) Setxattr(_ context.Context, attr string, _ []byte, _ uint32) syscall.Errno {
	return b.changeXattr(attr)
}

// Removexattr refuses as Setxattr does.
func (b *base) Removexattr(_ context.Context, attr string) syscall.Errno { return b.changeXattr(attr) }

// changeXattr gives the errno for a change of an extended attribute. Container runtimes that
// relabel a volume (podman -v …:z, seen 2020) fail after EROFS. They ignore ENOTSUP, which means
// a file system without labels.
func (b *base) changeXattr(attr string) syscall.Errno {
	if _, ok := b.entry.(Changeable); ok || strings.HasPrefix(attr, "security.") {
		return syscall.ENOTSUP
	}
	return syscall.EROFS
}

// forMac says whether a name is one that macOS puts next to every file.
func forMac(name string) bool { return name == ".DS_Store" || strings.HasPrefix(name, "._") }
