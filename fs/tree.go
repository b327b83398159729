package fs

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// FSType is what the kernel lists the file system as: fuse.ocifs.
const FSType = node.FSType

// maxNodes is how many inodes the kernel may hold, where it can be asked to forget some. One
// takes one to three kilobytes here, with its directory.
const maxNodes = 1 << 14

// Options says what a tree shows and how. Client and Store are required.
type Options struct {
	// Host and Path pick the root: nothing (every registry), a host, or a host and a
	// repository.
	Host, Path string

	Client *registry.Client
	Store  *cache.Store
	// Hosts are the hosts that a listing of the root names from the start, such as those that
	// credentials are for. Nil: none.
	Hosts func() []string

	TagTTL  time.Duration // how long a tag is believed
	ListTTL time.Duration // how long lists of tags, repositories and referrers are
	// LookupBound is the longest that a lookup or an open waits. Zero: 45 s.
	LookupBound time.Duration

	// ReadOnly leaves upload/ out.
	ReadOnly bool
	// AllowDelete lets rmdir and unlink delete tags, manifests and blobs at the registry.
	AllowDelete bool
	// UploadBytes bounds what is staged and not pushed yet; zero: as the disk has.
	UploadBytes int64

	// Stream shows what comes of a blob before all of it has matched its digest. Its end is
	// held back until it has.
	Stream bool
	// MaxDownload bounds, in bytes, what the reads of one process group make be downloaded
	// within a minute; zero: nothing does. See package guard.
	MaxDownload int64

	AllowOther bool
	Xattr      bool
	Version    string
	// Config is the effective configuration, without secrets, as .ocifs/config.json shows it.
	Config map[string]any
	Logger *slog.Logger // nil: silent

	now func() time.Time // nil: time.Now
}

// Tree is a mounted tree, or one to be mounted. It is safe for concurrent use. No field changes
// once New has returned.
type Tree struct {
	opts      Options
	store     *cache.Store
	log       *slog.Logger
	prefix    string // the root's path from the registry down, by which identities are made
	spelled   string // the same as the root was spelled: Docker Hub's own images have two spellings
	started   time.Time
	uid, gid  uint32 // of whoever mounts
	root      node.Directory
	kernel    *node.Kernel
	known     *known.Registries
	area      *upload.Area // nil where the mount is read-only
	guard     *guard.Guard // nil where nothing is refused
	tagDirs   tagDirs
	shortcuts *known.Bounded[shortcutsKey, shortcuts]
	referrers *known.Bounded[digest.Digest, referrers]
}

// New makes a tree. It contacts nobody. Close is to be called when it is no longer mounted.
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
	guarded, err := guard.New(o.MaxDownload)
	if err != nil {
		return nil, err
	}
	t := &Tree{
		opts: o, guard: guarded, store: o.Store, log: o.Logger, started: o.now(),
		uid: uint32(os.Getuid()), gid: uint32(os.Getgid()),
		shortcuts: newShortcuts(), referrers: newReferrers(),
	}
	t.kernel = node.New(node.Options{
		Verdicts: verdicts, Quiet: guard.ToldBefore, LookupBound: o.LookupBound, MaxNodes: maxNodes,
		Owner: t.uid, ReadOnly: o.ReadOnly, AllowOther: o.AllowOther, Xattr: o.Xattr, Usage: t.usage, Logger: o.Logger,
		Now: o.now,
	})
	o.Store.OnPanic(t.kernel.Panicked)
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

// Mount mounts the tree and returns when the kernel can use it. The caller unmounts the server
// that it gets and waits for it.
//
// passthroughFile is a file beside the cache's blobs, or "": with it, the kernel is asked once
// whether it may read cache files without asking.
func (t *Tree) Mount(mountpoint, passthroughFile string) (*fuse.Server, error) {
	return t.kernel.Mount(t.root, mountpoint, passthroughFile)
}

// Close waits for pushes under way until ctx ends, and then ends them. What is staged and
// wasn't pushed is kept, and told in the log.
func (t *Tree) Close(ctx context.Context) error {
	t.known.Close()
	var err error
	if t.area != nil {
		err = t.area.Close(ctx)
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), staleWait)
	defer cancel()
	t.kernel.Close(bounded)
	return err
}

// Uploaded is how many bytes of the pushes under way were sent.
func (t *Tree) Uploaded() (n int64) {
	for _, u := range t.uploading() {
		n += u.Done
	}
	return n
}

// uploading gives the pushes under way.
func (t *Tree) uploading() []upload.Transfer {
	if t.area == nil {
		return nil
	}
	return t.area.Transfers()
}

// repository gives a repository by its name.
func (t *Tree) repository(r ref.Repository) known.Repository { return t.known.Repository(r) }

// notice tells a person what no errno tells.
func (t *Tree) notice(n known.Notice) {
	t.kernel.Tell(t.pathOf(n.Host, n.Path, n.Below), n.Op, n.Hint, n.Err)
}

// usage tells how full the cache is: registries don't say how much they hold.
func (t *Tree) usage() (node.Usage, error) {
	u, err := t.store.Usage()
	return node.Usage{Size: u.Size, Used: u.Used, Free: u.Free}, err
}
