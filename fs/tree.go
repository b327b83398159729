package fs

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/layers"
	"github.com/ocifs/ocifs/fs/internal/metrics"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// FSType is the type under which the kernel lists the file system: fuse.ocifs.
const FSType = node.FSType

// DevicePrefix begins a mountpoint that is a FUSE device; see Tree.Mount.
const DevicePrefix = node.DevicePrefix

// maxNodes is how many inodes the kernel may hold, if it can be asked to forget some, a directory
// for two and two files of a layer for one. A node takes one to three kilobytes in this process,
// that of a file of a layer 470 bytes: the process has 90 MiB at its peak where a program has walked
// over 800,000 files of an image. The kernel may hold 49,152 files of layers so.
//
// A walk over more files than the kernel may hold finds none of them there when it comes again. It
// takes 30 times as long then (du, 60,000 files, 24,576 held: 4.8 s, and 0.15 s when all are held;
// 0.65 s on the disk). A third of the time goes to the forgetting (22 percent to the request for it,
// 11 to the FORGETs), 22 percent to the nodes that are made anew, 17 percent to the collector.
const maxNodes = 3 << 13

// Options says what a tree shows, and how. Client and Store are required.
type Options struct {
	// Host and Path pick the root: neither (all registries), a host, or a host and a
	// repository.
	Host, Path string

	Client *registry.Client
	Store  *cache.Store
	// Traffic is the Observer of Client; nil: .ocifs/metrics has nothing of the requests.
	Traffic *Traffic
	// Hosts gives the hosts that a listing of the root names from the start, such as those
	// with credentials. Nil: none.
	Hosts func() []string

	TagTTL  time.Duration // how long a tag is believed
	ListTTL time.Duration // how long lists of tags, repositories and referrers are believed
	// LookupBound is how long a lookup or an open waits at most; 0: 45 s.
	LookupBound time.Duration

	// Platform is the platform whose image stands for an index, where one image is needed.
	// The zero value is DefaultPlatform.
	Platform v1.Platform

	// VerbatimSymlinks shows the targets of symlinks in images as they are. They may then lead
	// out of the image's tree.
	VerbatimSymlinks bool
	// UnpackedBytes is what one layer may unpack to, in bytes; 0: no bound.
	UnpackedBytes int64

	// ReadOnly leaves upload/ out.
	ReadOnly bool
	// AllowDelete lets rmdir and unlink delete tags, manifests and blobs at the registry.
	AllowDelete bool
	// UploadBytes is how many bytes may be staged and not pushed yet; 0: as many as the disk
	// holds.
	UploadBytes int64

	// Stream shows bytes of a blob before all of them have matched the digest. The last bytes
	// are held back until then.
	Stream bool
	// MaxDownload is how many bytes the reads of one process group may download within a
	// minute; 0: no limit. See package guard.
	MaxDownload int64

	AllowOther bool
	Xattr      bool
	Version    string
	// Source is what the kernel lists as the source of the mount; "": FSType.
	Source string
	// MountOptions are options for the kernel beside the tree's own, as mount(2) takes them:
	// noexec, context="…".
	MountOptions []string
	// Config is the effective configuration, without secrets, as .ocifs/config.json shows it.
	Config map[string]any
	Logger *slog.Logger // nil: silent

	now func() time.Time // nil: time.Now
}

// Tree is a mounted tree, or one to be mounted. It is safe for concurrent use. New sets all
// fields, and nothing changes them later but mountpoint.
type Tree struct {
	opts  Options
	store *cache.Store
	log   *slog.Logger
	// prefix is the root's path in a mount of all registries. Identities are made with it.
	prefix string
	// spelled is prefix as the user spelled it: Docker Hub's official images have two
	// spellings.
	spelled   string
	started   time.Time
	uid, gid  uint32 // of the user who mounts
	root      node.Directory
	kernel    *node.Kernel
	known     *known.Registries
	area      *upload.Area // nil in a read-only mount
	guard     *guard.Guard // nil if no download is refused
	layers    *layers.Layers
	sessions  *sessions
	tagDirs   tagDirs
	shortcuts *known.Bounded[shortcutsKey, shortcuts]
	referrers *known.Bounded[digest.Digest, referrers]
	// hostLabels bounds the registries that .ocifs/metrics names.
	hostLabels *metrics.Names
	mountpoint atomic.Pointer[string] // nil: the tree isn't mounted
	capitals   capitals
}

// New makes a tree, without a request to any registry. The caller calls Close after the unmount.
func New(o Options) (*Tree, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.LookupBound == 0 {
		o.LookupBound = 45 * time.Second
	}
	if o.now == nil {
		o.now = time.Now
	}
	if o.Platform.OS == "" {
		o.Platform = DefaultPlatform()
	}
	guarded, err := guard.New(o.MaxDownload)
	if err != nil {
		return nil, err
	}
	t := &Tree{
		opts: o, guard: guarded, store: o.Store, log: o.Logger, started: o.now(),
		uid: uint32(os.Getuid()), gid: uint32(os.Getgid()),
		shortcuts: newShortcuts(), referrers: newReferrers(), hostLabels: metrics.NewNames(maxHosts),
	}
	t.kernel = node.New(node.Options{
		Verdicts: verdicts, Quiet: guard.ToldBefore, LookupBound: o.LookupBound, MaxNodes: maxNodes,
		Owner: t.uid, ReadOnly: o.ReadOnly, AllowOther: o.AllowOther, Xattr: o.Xattr, Usage: t.usage, Logger: o.Logger,
		Source: o.Source, MountOptions: o.MountOptions, Now: o.now,
	})
	o.Store.OnPanic(t.kernel.Panicked)
	t.layers, err = layers.New(layers.Options{
		Store: o.Store, Guard: guarded, MaxBytes: o.UnpackedBytes, Left: t.left, Panicked: t.kernel.Panicked, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	t.sessions = newSessions(t)
	t.known = known.New(known.Options{
		Client: o.Client, Store: o.Store, TagTTL: o.TagTTL, ListTTL: o.ListTTL,
		Epoch: epoch, Notify: t.notice, Panicked: t.kernel.Panicked, Logger: o.Logger,
		Now: o.now,
	})
	if !o.ReadOnly {
		t.area, err = upload.Open(upload.Options{
			Dir: o.Store.Staging(), MaxBytes: o.UploadBytes, Client: o.Client, Tree: pushTree{t}, Path: treePath, Start: epoch,
			Panicked: t.kernel.Panicked, Logger: o.Logger, Now: o.now,
		})
		if err != nil {
			return nil, err
		}
	}
	top, err := t.top()
	if err != nil {
		return nil, err
	}
	control := t.controlDir(place{t, controlName})
	t.root = &withControl{top, node.Child{Name: controlName, Entry: control, TTL: forever}}
	return t, nil
}

// top makes the root that the options pick, and sets prefix and spelled.
func (t *Tree) top() (node.Directory, error) {
	at := place{tree: t}
	switch {
	case t.opts.Host == "":
		return &hostsDir{at}, nil
	case t.opts.Path == "":
		h, err := ref.ParseHost(t.opts.Host)
		t.prefix = hostName(h)
		t.spelled = t.prefix
		return &namespace{place: at, host: t.known.Host(h)}, err
	}
	r, err := ref.NewRepository(t.opts.Host, t.opts.Path)
	t.prefix = treePath(r)
	t.spelled = treePath(ref.Repository{Host: r.Host, Path: t.opts.Path})
	return &namespace{place: at, host: t.known.Host(r.Host), path: t.opts.Path}, err
}

// Mount mounts the tree, and returns when the kernel can use it. The caller unmounts the server
// and waits for it.
//
// A mountpoint /dev/fd/N is the FUSE device that this process has open as N. Somebody else has
// mounted it, and unmounts it. AllowOther, Source and MountOptions are then without effect, and
// ReadOnly leaves the flags of the mount as they are.
//
// passthroughFile is a file next to the cache's blobs, or "". With it, Mount tries once whether
// the kernel may read cache files without asking this process.
func (t *Tree) Mount(mountpoint, passthroughFile string) (*fuse.Server, error) {
	t.mountpoint.Store(&mountpoint)
	return t.kernel.Mount(t.root, mountpoint, passthroughFile)
}

// Close waits for pushes that are under way until ctx ends, and then cancels them. What is staged
// and not pushed is kept, and logged.
func (t *Tree) Close(ctx context.Context) error {
	t.sessions.close()
	t.known.Close()
	t.layers.Close()
	var err error
	if t.area != nil {
		err = t.area.Close(ctx)
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), staleWait)
	defer cancel()
	t.kernel.Close(bounded)
	return err
}

// Uploaded gives how many bytes of the present pushes were sent.
func (t *Tree) Uploaded() (n int64) {
	for _, u := range t.uploading() {
		n += u.Done
	}
	return n
}

// Unpushed lists the pushes of this mount that are under way, wait or failed. It touches no disk.
func (t *Tree) Unpushed() []upload.Record {
	if t.area == nil {
		return nil
	}
	return t.area.Unpushed()
}

// uploading gives the uploads under way.
func (t *Tree) uploading() []upload.Transfer {
	if t.area == nil {
		return nil
	}
	return t.area.Transfers()
}

// repository gives a repository by its reference.
func (t *Tree) repository(r ref.Repository) known.Repository { return t.known.Repository(r) }

// notice reports to a person what no errno says.
func (t *Tree) notice(n known.Notice) {
	t.kernel.Tell(t.pathOf(n.Host, n.Path, n.Below), n.Op, n.Hint, n.Err)
}

// usage gives how full the cache is, because registries don't say how much they hold.
func (t *Tree) usage() (node.Usage, error) {
	u, err := t.store.Usage()
	return node.Usage{Size: u.Size, Used: u.Used, Free: u.Free}, err
}
