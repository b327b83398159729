package node

import (
	"context"
	"maps"
	"slices"
	"strings"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
)

// Extended attributes exist only with Options.Xattr. Without it, the first program that reads one
// gets ENOSYS, and the kernel asks no more. (go-fuse can answer that by itself, but would answer
// it to setxattr too, for which EROFS is the true answer.)
var (
	_ gofs.NodeGetxattrer  = (*base)(nil)
	_ gofs.NodeListxattrer = (*base)(nil)
)

func (b *base) Getxattr(_ context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	if !b.kernel.o.Xattr {
		return 0, syscall.ENOSYS
	}
	v, ok := b.xattrs()[attr]
	if !ok {
		return 0, gofs.ENOATTR
	}
	return fillXattr(dest, v)
}

func (b *base) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	if !b.kernel.o.Xattr {
		return 0, syscall.ENOSYS
	}
	var all string
	for _, name := range slices.Sorted(maps.Keys(b.xattrs())) {
		all += name + "\x00"
	}
	return fillXattr(dest, all)
}

// xattrs gives the attributes of the Entry. user.ocifs.error is the last failure there. Entries
// that can be changed have none.
func (b *base) xattrs() map[string]string {
	if _, ok := b.entry.(Changeable); ok {
		return nil
	}
	x := map[string]string{}
	if a, ok := b.entry.(attributed); ok {
		maps.Copy(x, a.Xattrs())
	}
	if cause := b.kernel.failures.LastAt(b.entry.Path()); cause != "" {
		x["user.ocifs.error"] = cause
	}
	// Linux has user.* for files and directories alone (xattr(7)). rsync -X fails if a name is
	// listed that can't be read.
	if t := b.entry.Attr().Mode & fileType; t != syscall.S_IFREG && t != syscall.S_IFDIR {
		maps.DeleteFunc(x, func(name, _ string) bool { return strings.HasPrefix(name, "user.") })
	}
	return x
}

// fillXattr gives a value. If dest is too small, it gives only the size.
func fillXattr(dest []byte, v string) (uint32, syscall.Errno) {
	if len(dest) < len(v) {
		return uint32(len(v)), syscall.ERANGE
	}
	return uint32(copy(dest, v)), 0
}
