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

// Access is access(2).
func (b *base) Access(ctx context.Context, mask uint32) syscall.Errno {
	_, changes := b.entry.(Changeable)
	_, isFile := b.entry.(File)
	switch {
	case changes:
		return b.may(ctx, mask)
	case isFile && mask&fuse.X_OK != 0:
		return syscall.EACCES
	case mask&fuse.W_OK != 0:
		return syscall.EROFS
	}
	return 0
}

// may says whether the caller of a request has the permissions of a mask of access(2) here.
// Everybody may look at what can't be changed. The permissions of a group aren't looked at:
// the kernel doesn't tell all groups of a caller.
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

// Setattr changes what a chmod, chown, utimens or truncate asks for. Access times aren't
// kept.
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
	// A disk says EPERM to a user who gives a file away and isn't root. Here that changes
	// nothing instead: umoci and tar end at that error, and cp -p may not change the
	// permissions of a file that it gave away.
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

// Setxattr refuses. ENOTSUP, where things can be changed, is what cp, install and rsync do
// without.
func (b *base) Setxattr(_ context.Context, attr string, _ []byte, _ uint32) syscall.Errno {
	return b.changeXattr(attr)
}

// Removexattr refuses as Setxattr does.
func (b *base) Removexattr(_ context.Context, attr string) syscall.Errno { return b.changeXattr(attr) }

// changeXattr gives the answer to a change of an extended attribute. Container runtimes that
// relabel a volume (podman -v …:z, seen 2020) take EROFS for a failure, and pass over ENOTSUP:
// a file system that has no labels.
func (b *base) changeXattr(attr string) syscall.Errno {
	if _, ok := b.entry.(Changeable); ok || strings.HasPrefix(attr, "security.") {
		return syscall.ENOTSUP
	}
	return syscall.EROFS
}

// forMac says whether a name is one that macOS puts beside every file.
func forMac(name string) bool { return name == ".DS_Store" || strings.HasPrefix(name, "._") }
