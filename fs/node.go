package fs

import (
	"context"
	"math"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// newInode shows an entry to the kernel as a child of parent.
func newInode(ctx context.Context, parent *gofs.Inode, c child, out *fuse.EntryOut) *gofs.Inode {
	st := c.stat()
	fillAttr(c.where().tree, st, &out.Attr)
	out.SetEntryTimeout(max(c.ttl, 0))
	out.SetAttrTimeout(st.ttl)
	return parent.NewInode(ctx, newNode(c.entry), st.stable())
}

// stable is what go-fuse tells nodes apart by.
func (s stat) stable() gofs.StableAttr {
	return gofs.StableAttr{Mode: s.mode & syscall.S_IFMT, Ino: s.ino, Gen: s.gen}
}

func newNode(e entry) gofs.InodeEmbedder {
	switch e := e.(type) {
	case *uploadDir:
		return newStaged(e.place, e.tree.area.Root(e.repo))
	case directory:
		return &dirNode{dir: e}
	case symlink:
		return &linkNode{link: e}
	case file:
		return &fileNode{file: e}
	}
	panic("fs: an entry is a directory, a file or a symlink")
}

func fillAttr(t *Tree, st stat, out *fuse.Attr) {
	out.Ino = st.ino
	out.Mode = st.mode
	out.Size = uint64(st.size)
	out.Blocks = (out.Size + 511) / 512
	out.Blksize = maxRequest
	out.Nlink = 1
	out.Uid, out.Gid = t.uid, t.gid
	out.SetTimes(&st.mtime, &st.mtime, &st.mtime)
}

func getattr(e entry, out *fuse.AttrOut) syscall.Errno {
	st := e.stat()
	fillAttr(e.where().tree, st, &out.Attr)
	out.SetTimeout(st.ttl)
	return 0
}

// linkNode is a symlink as the kernel sees it.
type linkNode struct {
	gofs.Inode
	link symlink
}

var (
	_ gofs.NodeGetattrer  = (*linkNode)(nil)
	_ gofs.NodeReadlinker = (*linkNode)(nil)
)

func (n *linkNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n.link, out)
}

func (n *linkNode) Readlink(context.Context) ([]byte, syscall.Errno) {
	return []byte(n.link.target()), 0
}

// fileNode is a file as the kernel sees it.
//
// The kernel wants all open handles of an inode to be of one mode: an inode
// that is open by way of the page cache can't be opened to pass through, nor
// the other way round. So the mode is chosen by the first handle, and kept
// until the last one is gone.
type fileNode struct {
	gofs.Inode
	file file

	mu      sync.Mutex
	handles int
	mode    ioMode
	pages   uint64 // the cache file that the kernel's pages may be of; 0: none
}

// ioMode is how the kernel reads an open file.
type ioMode int

const (
	// direct asks for each read. Nothing is kept, and a waiting read can be
	// interrupted: for what isn't there yet, and for what grows.
	direct ioMode = iota
	// cached reads through the kernel's page cache, which outlives the handle:
	// for what can't change.
	cached
	// passthrough lets the kernel read the cache file without asking.
	passthrough
)

// content is what an open file reads from.
type content interface {
	// readAt is io.ReaderAt's, under a context. It may wait for the network.
	readAt(ctx context.Context, p []byte, off int64) (int, error)
	mode() ioMode
	// fd is the descriptor to pass reads through to, where mode is passthrough.
	fd() int
	close()
}

var (
	_ gofs.NodeGetattrer = (*fileNode)(nil)
	_ gofs.NodeOpener    = (*fileNode)(nil)
)

func (n *fileNode) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return getattr(n.file, out)
}

// Open opens the file. Nothing below a registry can be written.
func (n *fileNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	if flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC) != 0 {
		return nil, 0, syscall.EROFS
	}
	ctx, cancel := n.file.where().tree.bound(ctx)
	defer cancel()
	c, err := n.file.open(ctx)
	if err != nil {
		return nil, 0, n.file.where().fail(ctx, "open", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.handles == 0 {
		n.mode = c.mode()
	}
	n.handles++
	h := &fileHandle{node: n, content: c, through: n.mode == passthrough}
	keep := n.keepPages(c)
	switch {
	case n.mode == direct:
		return h, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH, 0
	case !keep:
		return h, fuse.FOPEN_NOFLUSH, 0
	default: // go-fuse turns it into passthrough where the handle has a descriptor for it
		return h, fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH, 0
	}
}

// unverified is for pages that came by who mapped what was read before it was verified.
const unverified = math.MaxUint64

// keepPages says whether what the kernel has of a file may be of what is opened now. It
// may not where it wasn't verified, or where the cache file is another: the old one may
// have been damaged, and is set aside then. mu is held.
func (n *fileNode) keepPages(c content) bool {
	b, ok := c.(*blobContent)
	switch {
	case !ok:
		return true
	case b.stream != nil:
		n.pages = unverified
		return true
	case b.file == nil:
		return true
	}
	keep := n.pages == 0 || n.pages == b.file.Inode()
	n.pages = b.file.Inode()
	return keep
}

// fileHandle is an open file.
type fileHandle struct {
	node    *fileNode
	content content
	through bool
}

var (
	_ gofs.FileReader          = (*fileHandle)(nil)
	_ gofs.FileReleaser        = (*fileHandle)(nil)
	_ gofs.FilePassthroughFder = (*fileHandle)(nil)
)

func (h *fileHandle) PassthroughFd() (int, bool) {
	if !h.through || h.content.mode() != passthrough {
		return 0, false
	}
	return h.content.fd(), true
}

// Read reads. Neither a deadline nor a lock is over it: the content bounds its
// own waits, and an interrupt ends them.
func (h *fileHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := h.content.readAt(ctx, dest, off)
	if err != nil {
		return nil, h.node.file.where().fail(ctx, "read", err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

func (h *fileHandle) Release(context.Context) syscall.Errno {
	h.content.close()
	h.node.mu.Lock()
	h.node.handles--
	h.node.mu.Unlock()
	return 0
}

// snapshot is content that is at hand, and can't change.
type snapshot struct{ bytes []byte }

func (s *snapshot) readAt(_ context.Context, p []byte, off int64) (int, error) {
	if off >= int64(len(s.bytes)) {
		return 0, nil
	}
	return copy(p, s.bytes[off:]), nil
}

func (s *snapshot) mode() ioMode { return cached }
func (s *snapshot) fd() int      { return -1 }
func (s *snapshot) close()       {}
