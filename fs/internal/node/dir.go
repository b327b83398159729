package node

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// dirNode is the node of a directory.
type dirNode struct {
	base // whose entry is a Directory
	// listed is how many names an immutable directory has, plus 1; 0: it wasn't listed yet.
	listed atomic.Int64
}

var (
	_ gofs.NodeLookuper       = (*dirNode)(nil)
	_ gofs.NodeOpendirHandler = (*dirNode)(nil)
)

func (n *dirNode) dir() Directory { return n.entry.(Directory) }

// Lookup finds a name. The kernel doesn't keep a missing name of a Writable, because it may exist
// a moment later.
func (n *dirNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	n.use()
	if errno := n.may(ctx, fuse.X_OK); errno != 0 {
		return nil, errno
	}
	bounded, cancel := n.bound(ctx)
	defer cancel()
	var c Child
	var err error
	if d, ok := n.entry.(lookuper); ok {
		c, err = d.LookupFor(bounded, callerOf(ctx), name)
	} else {
		c, err = n.dir().Lookup(bounded, name)
	}
	if _, writable := n.entry.(Writable); writable && errors.Is(err, fs.ErrNotExist) {
		// With a timeout of its own, however short, go-fuse answers ENOENT without a
		// timeout. The kernel doesn't keep such an answer.
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
	return n.show(ctx, c, c.Attr(), out), 0
}

// bound gives ctx with the time limit of a lookup in this directory, if it has one.
func (n *dirNode) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := n.entry.(patient); ok {
		return context.WithCancel(ctx)
	}
	return n.kernel.bound(ctx)
}

// list makes the listing.
func (n *dirNode) list(ctx context.Context) (Listing, error) {
	if d, ok := n.entry.(patient); ok {
		return d.ListFor(ctx, callerOf(ctx))
	}
	return n.dir().List(ctx)
}

// OpendirHandle makes the whole listing. So a directory that can't be listed fails here, where
// every program looks for errors, and all later calls send no request. If the listing changes the
// directory's time, the kernel forgets the old time before anybody gets the new names.
//
// The kernel keeps the listing of an immutable directory (FOPEN_CACHE_DIR). For the next handle it
// may use what it kept (FOPEN_KEEP_CACHE), and such a handle makes no listing unless the kernel
// asks for names. That is so while the kernel holds the nodes of most names. Otherwise a new
// listing brings many nodes with one request (READDIRPLUS), and with what it kept the kernel would
// look up each.
func (n *dirNode) OpendirHandle(ctx context.Context, _ uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	n.use()
	if errno := n.may(ctx, fuse.R_OK); errno != 0 {
		return nil, 0, errno
	}
	_, never := n.entry.(immutable)
	if names := int(n.listed.Load() - 1); never && names >= 0 && 2*n.kernel.pruner.childrenOf(&n.base) >= names {
		h := &dirHandle{node: n, names: names}
		n.kernel.pruner.opened(names)
		return h, fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, 0
	}
	before := n.dir().Attr().Mtime
	l, err := n.list(ctx)
	if err != nil {
		return nil, 0, n.fail(ctx, "opendir", err)
	}
	if !n.dir().Attr().Mtime.Equal(before) {
		forgetAttr(n.EmbeddedInode())
	}
	h := &dirHandle{node: n, listing: l, made: true, names: len(l.Names)}
	n.kernel.pruner.opened(h.names)
	if !never {
		return h, 0, 0
	}
	n.listed.Store(int64(h.names) + 1)
	return h, fuse.FOPEN_CACHE_DIR, 0
}

// dirHandle is an open directory, with the listing of the moment at which it was opened. go-fuse
// calls one method of a handle at a time.
type dirHandle struct {
	node    *dirNode
	names   int // how many the listing has
	listing Listing
	made    bool // listing is there; false: it is made when it is needed
	next    int  // the next entry: 0 is ".", 1 is "..", 2 is the first name
	// entry is what Readdirent gave last. go-fuse copies it before it asks for the next one.
	entry  fuse.DirEntry
	last   Child // the child that was made last; the zero value: none was
	attr   Attr  // the attributes of last
	looked bool  // the name that was given last was looked up, because the reply brings nodes
}

var (
	_ gofs.FileReaddirenter = (*dirHandle)(nil)
	_ gofs.FileLookuper     = (*dirHandle)(nil)
	_ gofs.FileSeekdirer    = (*dirHandle)(nil)
	_ gofs.FileReleasedirer = (*dirHandle)(nil)
)

// list makes the listing if it isn't there.
func (h *dirHandle) list(ctx context.Context) syscall.Errno {
	if h.made {
		return 0
	}
	l, err := h.node.list(ctx)
	if err != nil {
		return h.node.fail(ctx, "readdir", err)
	}
	h.listing, h.made = l, true
	return 0
}

// child makes a child of the listing, and gives its attributes. The kernel often looks up each name
// right after it read it.
func (h *dirHandle) child(name string) (Child, Attr) {
	if h.last.Entry == nil || h.last.Name != name {
		h.last = h.listing.Child(name)
		h.attr = h.last.Attr()
	}
	return h.last, h.attr
}

func (h *dirHandle) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	if errno := h.list(ctx); errno != 0 {
		return nil, errno
	}
	i := h.next
	if i >= len(h.listing.Names)+2 {
		return nil, 0
	}
	looked := h.looked
	h.looked = false
	h.next++
	e := &h.entry
	*e = fuse.DirEntry{Off: uint64(h.next), Mode: syscall.S_IFDIR}
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
		if h.listing.Identity != nil && !looked {
			e.Ino = h.listing.Identity(e.Name).Ino
			break
		}
		_, a := h.child(e.Name)
		e.Ino, e.Mode = a.Ino, a.Mode&fileType
	}
	return e, 0
}

// Lookup answers from the listing alone. The names of a Writable are looked up, because they may
// mean something else by now.
func (h *dirHandle) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if _, ok := h.node.entry.(Writable); ok {
		return h.node.Lookup(ctx, name, out)
	}
	if errno := h.list(ctx); errno != 0 {
		return nil, errno
	}
	h.looked = true
	c, a := h.child(name)
	return h.node.show(ctx, c, a, out), 0
}

func (h *dirHandle) Seekdir(_ context.Context, off uint64) syscall.Errno {
	h.next = int(min(off, uint64(h.names+2)))
	h.looked = false
	return 0
}

func (h *dirHandle) Releasedir(context.Context, uint32) {
	h.node.kernel.pruner.closed(h.names)
}
