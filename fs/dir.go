package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// dirNode is a directory as the kernel sees it.
type dirNode struct {
	gofs.Inode
	dir directory
}

var (
	_ gofs.NodeGetattrer      = (*dirNode)(nil)
	_ gofs.NodeLookuper       = (*dirNode)(nil)
	_ gofs.NodeOpendirHandler = (*dirNode)(nil)
)

func (n *dirNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n.dir, out)
}

// Lookup is bounded by seconds: a second lookup of the same name waits behind
// it in the kernel, and can't be killed.
func (n *dirNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	bounded, cancel := n.dir.where().tree.bound(ctx)
	defer cancel()
	c, err := n.dir.lookup(bounded, name)
	if err != nil {
		return nil, n.dir.where().at(name).fail(bounded, "lookup", err)
	}
	return newInode(ctx, n.EmbeddedInode(), c, out), 0
}

// OpendirHandle takes the whole listing: what can't be listed says so here,
// where every program looks, and all that follows sends nothing. Where the listing moved
// the directory's time, the kernel forgets the old one before anybody has the new names.
func (n *dirNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	before := n.dir.stat().mtime
	l, err := n.dir.list(ctx)
	if err != nil {
		return nil, 0, n.dir.where().fail(ctx, "opendir", err)
	}
	if !n.dir.stat().mtime.Equal(before) {
		forgetTime(n.EmbeddedInode())
	}
	return &dirHandle{node: n, listing: l}, 0, 0
}

// dirHandle is an open directory: the listing as it was when it was opened.
// Offsets count entries, the first two being "." and "..".
type dirHandle struct {
	node    *dirNode
	listing listing
	next    int
}

var (
	_ gofs.FileReaddirenter = (*dirHandle)(nil)
	_ gofs.FileLookuper     = (*dirHandle)(nil)
	_ gofs.FileSeekdirer    = (*dirHandle)(nil)
)

func (h *dirHandle) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	i := h.next
	if i >= len(h.listing.names)+2 {
		return nil, 0
	}
	h.next++
	e := &fuse.DirEntry{Off: uint64(h.next), Mode: syscall.S_IFDIR}
	switch i {
	case 0:
		e.Name, e.Ino = ".", h.node.StableAttr().Ino
	case 1:
		e.Name, e.Ino = "..", h.node.StableAttr().Ino
		if _, p := h.node.Parent(); p != nil {
			e.Ino = p.StableAttr().Ino
		}
	default:
		e.Name = h.listing.names[i-2]
		e.Ino, e.Mode = h.listing.dirent(e.Name)
	}
	return e, 0
}

// Lookup answers from the listing alone.
func (h *dirHandle) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	return newInode(ctx, h.node.EmbeddedInode(), h.listing.child(name), out), 0
}

func (h *dirHandle) Seekdir(_ context.Context, off uint64) syscall.Errno {
	h.next = int(min(off, uint64(len(h.listing.names)+2)))
	return 0
}
