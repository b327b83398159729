package node

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// FSType is the type under which the kernel lists the file system: fuse.ocifs.
const FSType = "ocifs"

// DevicePrefix begins a mountpoint that is a FUSE device: /dev/fd/N.
const DevicePrefix = "/dev/fd/"

// negativeTTL is how long the kernel believes that a name doesn't exist. It keeps only ENOENT, so
// it never keeps the error of a registry out of reach.
const negativeTTL = 5 * time.Second

// maxRequest is the largest read or write request, in bytes. The kernel has no larger ones.
// Programs such as cat and cp, which ask for the best size of a read or write, get the same
// number.
const maxRequest = 1 << 20

// Mount shows a directory at a mountpoint, and returns when the kernel can use it. The caller
// unmounts the server and waits for it. A mountpoint /dev/fd/N is a FUSE device that somebody
// else has mounted.
//
// passthroughFile is a file next to the cache's blobs, or "". With it, Mount tries once whether
// the kernel may read cache files without this process.
func (k *Kernel) Mount(top Directory, mountpoint, passthroughFile string) (*fuse.Server, error) {
	root, o := k.bridge(top)
	o.MountOptions = fuse.MountOptions{
		Name:       FSType,
		FsName:     sourceName(k.o.Source),
		AllowOther: k.o.AllowOther,
		Options:    append(mountOptions(mountpoint, k.o.ReadOnly), k.o.MountOptions...),
		// Reads that wait for a download mustn't keep other requests from being sent.
		MaxBackground:        512,
		MaxWrite:             maxRequest,
		MaxStackDepth:        stackDepth(passthroughFile),
		EnableSymlinkCaching: true,
		DisableSplice:        true, // no faster than copying, and its pipes stay open
		DirectMountStrict:    directMount && !strings.HasPrefix(mountpoint, DevicePrefix),
		DirectMountFlags:     directMountFlags(k.o.ReadOnly),
		// Only programs that look at the entries of a directory, such as ls -l, get more
		// than the names.
		ExtraCapabilities: fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_READDIRPLUS_AUTO,
		Logger:            slog.NewLogLogger(k.log.Handler(), slog.LevelDebug),
		PanicHandler: func(p any) fuse.Status {
			k.Panicked(p, debug.Stack())
			return fuse.EIO
		},
	}
	server, err := fuse.NewServer(k.counted(root, o), mountpoint, &o.MountOptions)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", mountpoint, err)
	}
	go server.Serve()
	if err := waitMount(server); err != nil { // Serve ends by itself
		return nil, fmt.Errorf("mount %s: %w", mountpoint, err)
	}
	closeOnExec()
	k.mu.Lock()
	k.top = root.EmbeddedInode()
	k.mu.Unlock()
	k.through.Store(canPassThrough(server, passthroughFile))
	k.log.Info("mounted", "passthrough", k.through.Load())
	return server, nil
}

// Bridge gives the file system that Mount mounts, and its root, without a kernel. It is for
// tests.
func (k *Kernel) Bridge(top Directory) (fuse.RawFileSystem, *gofs.Inode) {
	root, o := k.bridge(top)
	return k.counted(root, o), root.EmbeddedInode()
}

// counted gives the file system of a root node, which counts its requests.
func (k *Kernel) counted(root shown, o *gofs.Options) fuse.RawFileSystem {
	k.listings.RawFileSystem = gofs.NewNodeFS(root, o)
	return &countedFS{&k.listings, k.operations}
}

// bridge gives the root node of a directory, and the options for go-fuse.
func (k *Kernel) bridge(top Directory) (root shown, o *gofs.Options) {
	negative, stable := negativeTTL, top.Attr().stable()
	return k.newNode(top), &gofs.Options{
		// Each entry has timeouts of its own for entry and attributes. Global timeouts
		// would replace a timeout of zero.
		NegativeTimeout: &negative,
		NullPermissions: true,
		RootStableAttr:  &stable,
		Logger:          slog.NewLogLogger(k.log.Handler(), slog.LevelDebug),
	}
}

// EntryOf gives the Entry that a node shows. It is for tests.
func EntryOf(n *gofs.Inode) Entry { return n.Operations().(shown).common().entry }
