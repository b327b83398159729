package node

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Usage says how full a disk is, in bytes.
type Usage struct {
	Size int64
	Used int64
	Free int64 // what can be used; it may be less than Size-Used
}

// measured is an Entry with a disk of its own.
type measured interface{ Usage() (Usage, error) }

var _ gofs.NodeStatfser = (*base)(nil)

// Statfs gives how full the file system is: from the Entry's own disk, else from Options.Usage.
// If the disk can't be asked, the size is 0, and reads go on. The number of inodes is made up,
// because registries have any number of names, and kubelet takes 0 for a full disk.
func (b *base) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const block, inodes = 4096, 1 << 30
	out.Bsize, out.Frsize, out.NameLen = block, block, 255
	out.Files, out.Ffree = inodes, inodes
	usage := b.kernel.o.Usage
	if own, ok := b.entry.(measured); ok {
		usage = own.Usage
	}
	if usage == nil {
		return 0
	}
	u, err := usage()
	if err != nil {
		b.kernel.log.Debug("the disk can't be asked how full it is", "cause", err)
		return 0
	}
	left := max(0, u.Size-u.Used)
	out.Blocks, out.Bfree = uint64(u.Size/block), uint64(left/block)
	out.Bavail = uint64(max(0, min(left, u.Free)) / block)
	return 0
}
