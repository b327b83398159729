package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/ocifs/ocifs/fs/upload"
)

// stagedLink is a symlink of the staging area as the kernel sees it.
type stagedLink struct {
	stagedNode
	link *upload.Symlink
}

var (
	_ gofs.NodeAccesser      = (*stagedLink)(nil)
	_ gofs.NodeGetattrer     = (*stagedLink)(nil)
	_ gofs.NodeSetattrer     = (*stagedLink)(nil)
	_ gofs.NodeSetxattrer    = (*stagedLink)(nil)
	_ gofs.NodeRemovexattrer = (*stagedLink)(nil)
	_ gofs.NodeReadlinker    = (*stagedLink)(nil)
)

func (n *stagedLink) Readlink(context.Context) ([]byte, syscall.Errno) {
	return []byte(n.link.Target()), 0
}
