package fs

import (
	"context"
	"syscall"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocifs/ocifs/cache"
)

var (
	_ gofs.NodeStatfser = (*dirNode)(nil)
	_ gofs.NodeStatfser = (*fileNode)(nil)
	_ gofs.NodeStatfser = (*linkNode)(nil)
	_ gofs.NodeStatfser = (*stagedDir)(nil)
	_ gofs.NodeStatfser = (*stagedFile)(nil)
	_ gofs.NodeStatfser = (*stagedLink)(nil)
)

func (n *dirNode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	return n.dir.where().tree.statfs(out)
}

func (n *fileNode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	return n.file.where().tree.statfs(out)
}

func (n *linkNode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	return n.link.where().tree.statfs(out)
}

func (n *stagedNode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	return n.top.tree.statfsUpload(out)
}

// statfs tells how full the cache is: registries don't say how much they hold.
func (t *Tree) statfs(out *fuse.StatfsOut) syscall.Errno {
	return t.fillStatfs(out, t.store.Usage)
}

// statfsUpload tells how full the staging area's disk is, or as much of it as
// Options.UploadBytes allows.
func (t *Tree) statfsUpload(out *fuse.StatfsOut) syscall.Errno {
	return t.fillStatfs(out, func() (cache.Usage, error) {
		u, err := t.store.Space()
		if limit := t.opts.UploadBytes; err == nil && limit > 0 && limit < u.Size {
			staged := t.area.Staged()
			u = cache.Usage{Size: limit, Used: staged, Free: min(u.Free, limit-staged)}
		}
		return u, err
	})
}

// fillStatfs tells the kernel a usage. Sizes are 0 where the disk can't be asked: reads go on.
// The number of inodes is made up, as registries have any number of names: kubelet takes 0
// for a full disk.
func (t *Tree) fillStatfs(out *fuse.StatfsOut, usage func() (cache.Usage, error)) syscall.Errno {
	const block, inodes = 4096, 1 << 30
	out.Bsize, out.Frsize, out.NameLen = block, block, 255
	out.Files, out.Ffree = inodes, inodes
	u, err := usage()
	if err != nil {
		t.log.Debug("the disk of the cache can't be asked how full it is", "cause", err)
		return 0
	}
	left := max(0, u.Size-u.Used)
	out.Blocks, out.Bfree = uint64(u.Size/block), uint64(left/block)
	out.Bavail = uint64(max(0, min(left, u.Free)) / block)
	return 0
}
