package fs

import (
	"context"
	"maps"
	"slices"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
)

// Extended attributes are there only with Options.Xattr. Without it the first that
// asks for one is told ENOSYS, and the kernel asks no more. (go-fuse can say that by
// itself, but says it to setxattr as well, where EROFS is what is true.)
var (
	_ gofs.NodeGetxattrer  = (*dirNode)(nil)
	_ gofs.NodeListxattrer = (*dirNode)(nil)
	_ gofs.NodeGetxattrer  = (*fileNode)(nil)
	_ gofs.NodeListxattrer = (*fileNode)(nil)
	_ gofs.NodeGetxattrer  = (*linkNode)(nil)
	_ gofs.NodeListxattrer = (*linkNode)(nil)
	_ gofs.NodeGetxattrer  = (*stagedDir)(nil)
	_ gofs.NodeListxattrer = (*stagedDir)(nil)
	_ gofs.NodeGetxattrer  = (*stagedFile)(nil)
	_ gofs.NodeListxattrer = (*stagedFile)(nil)
	_ gofs.NodeGetxattrer  = (*stagedLink)(nil)
	_ gofs.NodeListxattrer = (*stagedLink)(nil)
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

func (n *linkNode) Getxattr(_ context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	return getxattr(n.link, attr, dest)
}

func (n *linkNode) Listxattr(_ context.Context, dest []byte) (uint32, syscall.Errno) {
	return listxattr(n.link, dest)
}

// What is staged has none.
func (n *stagedNode) Getxattr(context.Context, string, []byte) (uint32, syscall.Errno) {
	if !n.top.tree.opts.Xattr {
		return 0, syscall.ENOSYS
	}
	return 0, gofs.ENOATTR
}

func (n *stagedNode) Listxattr(context.Context, []byte) (uint32, syscall.Errno) {
	if !n.top.tree.opts.Xattr {
		return 0, syscall.ENOSYS
	}
	return 0, 0
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
	if !e.where().tree.opts.Xattr {
		return 0, syscall.ENOSYS
	}
	v, ok := xattrsOf(e)[attr]
	if !ok {
		return 0, gofs.ENOATTR
	}
	return fill(dest, v)
}

func listxattr(e entry, dest []byte) (uint32, syscall.Errno) {
	if !e.where().tree.opts.Xattr {
		return 0, syscall.ENOSYS
	}
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
