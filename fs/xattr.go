package fs

import (
	"context"
	"maps"
	"slices"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
)

// Extended attributes are asked for by the kernel only with Options.Xattr.
var (
	_ gofs.NodeGetxattrer  = (*dirNode)(nil)
	_ gofs.NodeListxattrer = (*dirNode)(nil)
	_ gofs.NodeGetxattrer  = (*fileNode)(nil)
	_ gofs.NodeListxattrer = (*fileNode)(nil)
)

func (n *dirNode) Getxattr(_ context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	return getxattr(n.dir, attr, dest)
}

func (n *dirNode) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return listxattr(n.dir, dest)
}

func (n *fileNode) Getxattr(_ context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	return getxattr(n.file, attr, dest)
}

func (n *fileNode) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return listxattr(n.file, dest)
}

// xattrsOf gives the attributes of an entry; user.ocifs.error is the last
// failure there, where there was one.
func xattrsOf(e entry) map[string]string {
	x := map[string]string{}
	if a, ok := e.(attributed); ok {
		maps.Copy(x, a.xattrs())
	}
	if cause := e.where().tree.failures.lastAt(e.where().path); cause != "" {
		x["user.ocifs.error"] = cause
	}
	return x
}

func getxattr(e entry, attr string, dest []byte) (uint32, syscall.Errno) {
	v, ok := xattrsOf(e)[attr]
	if !ok {
		return 0, gofs.ENOATTR
	}
	return fill(dest, v)
}

func listxattr(e entry, dest []byte) (uint32, syscall.Errno) {
	var all string
	for _, name := range slices.Sorted(maps.Keys(xattrsOf(e))) {
		all += name + "\x00"
	}
	return fill(dest, all)
}

// fill gives a value, or just its size where dest has no room for it.
func fill(dest []byte, v string) (uint32, syscall.Errno) {
	if len(dest) < len(v) {
		return uint32(len(v)), syscall.ERANGE
	}
	return uint32(copy(dest, v)), 0
}
