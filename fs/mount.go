package fs

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

// negativeTTL is how long the kernel believes that a name doesn't exist. Only
// ENOENT is kept, so never a registry that was out of reach.
const negativeTTL = 5 * time.Second

// maxRequest is the largest request to read or to write, in bytes, which is the most that
// the kernel has. Programs that ask how much they should read or write at once, as cat
// and cp do, are told as much.
const maxRequest = 1 << 20

// Mount mounts the tree and returns when the kernel can use it. The caller
// unmounts the server that it gets and waits for it.
//
// passthroughFile is a file beside the cache's blobs, or "": with it, the kernel
// is asked once whether it may read cache files without asking.
func (t *Tree) Mount(mountpoint, passthroughFile string) (*fuse.Server, error) {
	negative := negativeTTL
	root, rootAttr := newNode(t.root), t.root.stat().stable()
	o := &gofs.Options{
		// Entry and attribute time-outs are each entry's own: a global one would
		// stand in for a zero.
		NegativeTimeout: &negative,
		NullPermissions: true,
		RootStableAttr:  &rootAttr,
		Logger:          slog.NewLogLogger(t.log.Handler(), slog.LevelDebug),
	}
	o.MountOptions = fuse.MountOptions{
		Name:       FSType,
		FsName:     FSType,
		AllowOther: t.opts.AllowOther,
		Options:    mountOptions(t.opts.ReadOnly),
		// Reads that wait for a download mustn't keep others from being sent.
		MaxBackground:        512,
		MaxWrite:             maxRequest,
		MaxStackDepth:        stackDepth(passthroughFile),
		EnableSymlinkCaching: true,
		DisableSplice:        true, // no faster than copying, and its pipes stay open
		DirectMountStrict:    directMount,
		DirectMountFlags:     directMountFlags(t.opts.ReadOnly),
		// Only who looks at the entries of a directory, as ls -l does, is given
		// more than their names.
		ExtraCapabilities: fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_READDIRPLUS_AUTO,
		Logger:            slog.NewLogLogger(t.log.Handler(), slog.LevelDebug),
		PanicHandler: func(p any) fuse.Status {
			t.panics.Add(1)
			t.log.Error("panic", "cause", p, "stack", string(debug.Stack()))
			return fuse.EIO
		},
	}
	server, err := gofs.Mount(mountpoint, root, o)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", mountpoint, err)
	}
	closeOnExec()
	t.mu.Lock()
	t.top = root.EmbeddedInode()
	t.mu.Unlock()
	t.through.Store(canPassThrough(server, passthroughFile))
	t.log.Info("mounted", "mountpoint", mountpoint, "passthrough", t.through.Load())
	return server, nil
}
