package node

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// FSType is what the kernel lists the file system as: fuse.ocifs.
const FSType = "ocifs"

// negativeTTL is how long the kernel believes that a name doesn't exist. Only ENOENT is kept,
// so never a registry that was out of reach.
const negativeTTL = 5 * time.Second

// maxRequest is the largest request to read or to write, in bytes, which is the most that the
// kernel has. Programs that ask how much they should read or write at once, as cat and cp do,
// are told as much.
const maxRequest = 1 << 20

// Mount shows a directory at a mountpoint and returns when the kernel can use it. The caller
// unmounts the server that it gets and waits for it.
//
// passthroughFile is a file beside the cache's blobs, or "": with it, the kernel is asked once
// whether it may read cache files without asking.
func (k *Kernel) Mount(top Directory, mountpoint, passthroughFile string) (*fuse.Server, error) {
	root, o := k.bridge(top)
	o.MountOptions = fuse.MountOptions{
		Name:       FSType,
		FsName:     FSType,
		AllowOther: k.o.AllowOther,
		Options:    mountOptions(k.o.ReadOnly),
		// Reads that wait for a download mustn't keep others from being sent.
		MaxBackground:        512,
		MaxWrite:             maxRequest,
		MaxStackDepth:        stackDepth(passthroughFile),
		EnableSymlinkCaching: true,
		DisableSplice:        true, // no faster than copying, and its pipes stay open
		DirectMountStrict:    directMount,
		DirectMountFlags:     directMountFlags(k.o.ReadOnly),
		// Only who looks at the entries of a directory, as ls -l does, is given more than
		// their names.
		ExtraCapabilities: fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_READDIRPLUS_AUTO,
		Logger:            slog.NewLogLogger(k.log.Handler(), slog.LevelDebug),
		PanicHandler: func(p any) fuse.Status {
			k.Panicked(p, debug.Stack())
			return fuse.EIO
		},
	}
	server, err := gofs.Mount(mountpoint, root, o)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", mountpoint, err)
	}
	closeOnExec()
	k.mu.Lock()
	k.top = root.EmbeddedInode()
	k.mu.Unlock()
	k.through.Store(canPassThrough(server, passthroughFile))
	k.log.Info("mounted", "mountpoint", mountpoint, "passthrough", k.through.Load())
	return server, nil
}

// Bridge gives the file system that Mount mounts, and its root, without a kernel: for tests.
func (k *Kernel) Bridge(top Directory) (fuse.RawFileSystem, *gofs.Inode) {
	root, o := k.bridge(top)
	return gofs.NewNodeFS(root, o), root.EmbeddedInode()
}

// bridge says how go-fuse shows a directory.
func (k *Kernel) bridge(top Directory) (root shown, o *gofs.Options) {
	negative, stable := negativeTTL, top.Attr().stable()
	return k.newNode(top), &gofs.Options{
		// Entry and attribute time-outs are each entry's own: a global one would stand in for
		// a zero.
		NegativeTimeout: &negative,
		NullPermissions: true,
		RootStableAttr:  &stable,
		Logger:          slog.NewLogLogger(k.log.Handler(), slog.LevelDebug),
	}
}

// EntryOf gives the Entry that a node shows, for tests.
func EntryOf(n *gofs.Inode) Entry { return n.Operations().(shown).common().entry }
