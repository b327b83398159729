package node

import (
	"context"
	"sync"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// fileNode is the node of a file.
//
// The kernel wants the same mode for all open handles of an inode: an inode that is open through
// the page cache can't be opened with passthrough, nor the other way round. So the first handle
// sets the mode, which stays until the last handle is gone.
type fileNode struct {
	base // whose entry is a File

	mu      sync.Mutex // guards the fields below
	handles int        // counts the open handles
	mode    Mode       // of the open handles
	// pages is the Way.Pages of the pages that the kernel may have; 0: it has none.
	pages uint64
}

var _ gofs.NodeOpener = (*fileNode)(nil)

func (n *fileNode) file() File { return n.entry.(File) }

// Open opens the file. Only a WritableFile can be opened to write.
func (n *fileNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	n.use()
	const writes = syscall.O_WRONLY | syscall.O_RDWR | syscall.O_TRUNC
	if flags&writes != 0 {
		return n.openToWrite(ctx, flags)
	}
	if errno := n.may(ctx, fuse.R_OK); errno != 0 {
		return nil, 0, errno
	}
	c, errno := n.content(ctx)
	if errno != 0 {
		return nil, 0, errno
	}
	h, flags := n.opened(c)
	return h, flags | fuse.FOPEN_NOFLUSH, 0
}

// content opens the file to read. A file that is ready needs no time limit, which would take a
// timer and a goroutine.
func (n *fileNode) content(ctx context.Context) (Content, syscall.Errno) {
	if f, ok := n.entry.(readyFile); ok {
		if c := f.OpenReady(); c != nil {
			return c, 0
		}
	}
	bounded, cancel := n.kernel.bound(ctx)
	defer cancel()
	c, err := n.file().Open(bounded, callerOf(ctx))
	if err != nil {
		return nil, n.fail(bounded, "open", err)
	}
	return c, 0
}

// opened counts a new handle, and gives the flags that say how the kernel reads through it.
func (n *fileNode) opened(c Content) (h *fileHandle, flags uint32) {
	way := c.Way()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.handles == 0 {
		n.mode = way.Mode
	}
	n.handles++
	h = &fileHandle{node: n, content: c, way: way, through: n.mode == Passthrough && way.Mode == Passthrough}
	keep := n.keepPages(way)
	switch {
	case n.mode == Direct:
		return h, fuse.FOPEN_DIRECT_IO
	case !keep:
		return h, 0
	}
	// go-fuse passes reads through if the handle has a descriptor for that.
	return h, fuse.FOPEN_KEEP_CACHE
}

// keepPages says whether the kernel may keep its pages of the file, because they have the bytes
// that are opened now. mu is held.
func (n *fileNode) keepPages(way Way) bool {
	if way.Pages == 0 {
		return true
	}
	keep := n.pages == 0 || n.pages == way.Pages || way.Pages == UnverifiedPages
	n.pages = way.Pages
	return keep
}

// fileHandle is an open file.
type fileHandle struct {
	node    *fileNode
	content Content
	way     Way
	through bool // reads pass through
}

var (
	_ gofs.FileReader          = (*fileHandle)(nil)
	_ gofs.FileReleaser        = (*fileHandle)(nil)
	_ gofs.FilePassthroughFder = (*fileHandle)(nil)
	_ gofs.FileIoctler         = (*fileHandle)(nil)
)

func (h *fileHandle) PassthroughFd() (int, bool) { return h.way.Fd, h.through }

// Read reads without a deadline and without a lock. The content limits its own waits, and an
// interrupt ends them.
func (h *fileHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if c, ok := h.content.(viewed); ok {
		if v := c.View(len(dest), off); v != nil {
			return viewResult{v}, 0
		}
	}
	n, err := h.content.ReadAt(ctx, callerOf(ctx), dest, off)
	if err != nil {
		return nil, h.node.fail(ctx, "read", err)
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Ioctl asks the content, if it can be asked. Every other file answers ENOTTY, as a disk does to a
// command that it doesn't know.
func (h *fileHandle) Ioctl(ctx context.Context, cmd uint32, _ uint64, input, _ []byte) (int32, syscall.Errno) {
	c, ok := h.content.(asked)
	if !ok {
		return 0, syscall.ENOTTY
	}
	return 0, c.Ask(ctx, callerOf(ctx), cmd, input)
}

func (h *fileHandle) Release(context.Context) syscall.Errno {
	h.content.Close()
	h.node.mu.Lock()
	defer h.node.mu.Unlock()
	h.node.handles--
	return 0
}
