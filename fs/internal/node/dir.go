package node

import (
	"context"
	"errors"
	"io/fs"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// dirNode is a directory as the kernel has it.
type dirNode struct {
	base
	dir Directory
}

var (
	_ gofs.NodeLookuper       = (*dirNode)(nil)
	_ gofs.NodeOpendirHandler = (*dirNode)(nil)
)

// Lookup finds a name. A name that a Writable lacks may be there in a moment, so the kernel
// doesn't keep that it is missing.
func (n *dirNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	n.use()
	if errno := n.may(ctx, fuse.X_OK); errno != 0 {
		return nil, errno
	}
	bounded, cancel := n.kernel.bound(ctx)
	defer cancel()
	var c Child
	var err error
	if d, ok := n.dir.(lookuper); ok {
		c, err = d.LookupFor(bounded, callerOf(ctx), name)
	} else {
		c, err = n.dir.Lookup(bounded, name)
	}
	if _, writable := n.dir.(Writable); writable && errors.Is(err, fs.ErrNotExist) {
		// A time-out of its own, however short, makes go-fuse say ENOENT without one, which
		// the kernel doesn't keep.
		out.SetEntryTimeout(time.Nanosecond)
		n.misses(name)
		return nil, syscall.ENOENT
	}
	if err != nil {
		errno := n.failAt(bounded, name, "lookup", err)
		if errno == syscall.ENOENT {
			n.misses(name)
		}
		return nil, errno
	}
	return n.show(ctx, c, out), 0
}

// OpendirHandle takes the whole listing: a directory that can't be listed says so here, where
// every program looks, and all that follows sends nothing. A listing may move the directory's
// time: the kernel forgets the old one before anybody has the new names.
func (n *dirNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	n.use()
	if errno := n.may(ctx, fuse.R_OK); errno != 0 {
		return nil, 0, errno
	}
	before := n.dir.Attr().Mtime
	l, err := n.dir.List(ctx)
	if err != nil {
		return nil, 0, n.fail(ctx, "opendir", err)
	}
	if !n.dir.Attr().Mtime.Equal(before) {
		forgetAttr(n.EmbeddedInode())
	}
	return &dirHandle{node: n, listing: l}, 0, 0
}

// dirHandle is an open directory: the listing as it was when it was opened. go-fuse calls one
// method of a handle at a time.
type dirHandle struct {
	node    *dirNode
	listing Listing
	next    int // the next entry: 0 is ".", 1 is "..", 2 is the first name
}

var (
	_ gofs.FileReaddirenter = (*dirHandle)(nil)
	_ gofs.FileLookuper     = (*dirHandle)(nil)
	_ gofs.FileSeekdirer    = (*dirHandle)(nil)
)

func (h *dirHandle) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	i := h.next
	if i >= len(h.listing.Names)+2 {
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
		e.Name = h.listing.Names[i-2]
		e.Ino, e.Mode = h.listing.dirent(e.Name)
	}
	return e, 0
}

// Lookup answers from the listing alone. The names of a Writable may mean something else by
// now, and are looked up.
func (h *dirHandle) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if _, ok := h.node.dir.(Writable); ok {
		return h.node.Lookup(ctx, name, out)
	}
	return h.node.show(ctx, h.listing.Child(name), out), 0
}

func (h *dirHandle) Seekdir(_ context.Context, off uint64) syscall.Errno {
	h.next = int(min(off, uint64(len(h.listing.Names)+2)))
	return 0
}
