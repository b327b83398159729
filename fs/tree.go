package fs

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// Options says what a tree shows and how. Client and Store are required.
type Options struct {
	// Host and Path pick the root: nothing (every registry), a host, or a host
	// and a repository.
	Host, Path string

	Client *registry.Client
	Store  *cache.Store
	// Hosts are the hosts that a listing of the root names from the start,
	// such as those that credentials are for. Nil: none.
	Hosts func() []string

	TagTTL  time.Duration // how long a tag is believed
	ListTTL time.Duration // how long lists of tags, repositories and referrers are
	// LookupBound is the longest that a lookup or an open waits. Zero: 45 s.
	LookupBound time.Duration

	// ReadOnly leaves upload/ out. AllowDelete lets rmdir and unlink delete tags,
	// manifests and blobs at the registry. UploadBytes bounds what is staged and not
	// pushed yet; zero: as the disk has.
	ReadOnly    bool
	AllowDelete bool
	UploadBytes int64

	// Stream shows what comes of a blob before all of it has matched its digest. Its end
	// is held back until it has.
	Stream bool
	// MaxDownload bounds, in bytes, what the reads of one process group make be
	// downloaded within a minute; zero: nothing does. See guard.
	MaxDownload int64

	AllowOther bool
	Xattr      bool
	Version    string
	// Config is the effective configuration, without secrets, as .ocifs/config.json
	// shows it.
	Config map[string]any
	Logger *slog.Logger // nil: silent
}

// Tree is a mounted tree, or one to be mounted. It is safe for concurrent use.
type Tree struct {
	opts      Options
	client    *registry.Client
	store     *cache.Store
	log       *slog.Logger
	prefix    string // what the paths of the tree stand below
	started   time.Time
	uid, gid  uint32
	root      directory
	failures  *failures
	manifests manifests
	referrers *recentReferrers
	lists     *lists
	closures  *lru.Cache[closureKey, *closure]
	shortcuts *bounded[shortcutsKey, shortcuts]
	area      *upload.Area // nil where the mount is read-only
	guard     *guard       // nil where nothing is refused
	panics    atomic.Int64
	through   atomic.Bool // reads pass through to the cache files

	telling sync.WaitGroup // goroutines that tell the kernel what has changed

	life    context.Context // until Close
	end     context.CancelFunc
	errands sync.WaitGroup // goroutines that nobody waits for, under life

	mu           sync.Mutex
	top          *gofs.Inode // once mounted
	repositories map[ref.Repository]*repository
	seen         map[ref.Repository]belief // that they exist
	visits       map[string]paths          // the repositories in seen, by host
	hosts        map[string]*host
}

// New makes a tree. It contacts nobody. Close is to be called when it is no longer
// mounted.
func New(o Options) (*Tree, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.LookupBound == 0 {
		o.LookupBound = 45 * time.Second
	}
	closures, err := lru.New[closureKey, *closure](maxClosures)
	if err != nil {
		return nil, err
	}
	guard, err := newGuard(o.MaxDownload)
	if err != nil {
		return nil, err
	}
	t := &Tree{
		opts: o, guard: guard, client: o.Client, store: o.Store, log: o.Logger, started: time.Now(),
		uid: uint32(os.Getuid()), gid: uint32(os.Getgid()),
		failures: newFailures(o.Logger), manifests: newManifests(), referrers: newRecentReferrers(), lists: newLists(o.Store, o.ListTTL, o.Logger),
		closures: closures, shortcuts: newShortcuts(),
		repositories: map[ref.Repository]*repository{}, seen: map[ref.Repository]belief{}, visits: map[string]paths{}, hosts: map[string]*host{},
	}
	t.life, t.end = context.WithCancel(context.Background())
	if !o.ReadOnly {
		t.area, err = upload.Open(upload.Options{
			Dir: o.Store.Staging(), MaxBytes: o.UploadBytes, Client: o.Client, Tree: pushTree{t}, Path: treePath, Start: epoch, Logger: o.Logger,
			Panicked: func(any, []byte) { t.panics.Add(1) },
		})
		if err != nil {
			return nil, err
		}
	}
	at := place{tree: t}
	switch {
	case o.Host == "":
		t.root = &hostsDir{place: at}
	case o.Path == "":
		h, err := ref.ParseHost(o.Host)
		if err != nil {
			return nil, err
		}
		t.prefix = hostName(h)
		t.root = &namespace{place: at, host: t.host(h)}
	default:
		r, err := ref.NewRepository(o.Host, o.Path)
		if err != nil {
			return nil, err
		}
		t.prefix = treePath(r)
		t.root = &namespace{place: at, host: t.host(r.Host), path: o.Path}
	}
	t.root = &withControl{t.root, t.controlDir(at.at(controlName))}
	return t, nil
}

// Close waits for pushes under way until ctx ends, and then ends them. What is staged
// and wasn't pushed is kept, and told in the log.
func (t *Tree) Close(ctx context.Context) error {
	t.end()
	t.errands.Wait()
	var err error
	if t.area != nil {
		err = t.area.Close(ctx)
	}
	told := make(chan struct{})
	go func() {
		t.telling.Wait() // for the kernel to let go of what it holds them up by
		close(told)
	}()
	t.wait(told)
	return err
}

// Uploaded is how many bytes of the pushes under way were sent.
func (t *Tree) Uploaded() (n int64) {
	if t.area == nil {
		return 0
	}
	for _, u := range t.area.Transfers() {
		n += u.Done
	}
	return n
}

// bound is ctx with the longest wait of a lookup over it.
func (t *Tree) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, t.opts.LookupBound)
}

// repository gives the one record of a repository.
func (t *Tree) repository(r ref.Repository) *repository {
	t.mu.Lock()
	defer t.mu.Unlock()
	repo, ok := t.repositories[r]
	if !ok {
		repo = newRepository(t, r)
		t.repositories[r] = repo
	}
	return repo
}

func (t *Tree) host(name string) *host {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := t.hosts[name]
	if !ok {
		h = &host{tree: t, name: name, patience: catalogPatience}
		t.hosts[name] = h
	}
	return h
}

// visit remembers that a repository exists: its registry just showed something
// of it. Listings name it from now on.
func (t *Tree) visit(r ref.Repository) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.seen[r]; !ok {
		ps := t.visits[r.Host]
		ps.insert(r.Path)
		t.visits[r.Host] = ps
	}
	t.seen[r] = believe(t.opts.ListTTL)
}

// missed remembers that a registry denied a repository. Listings that named it still
// do, as it may be entered all the same.
func (t *Tree) missed(r ref.Repository) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.seen[r]; ok {
		t.seen[r] = belief{}
	}
}

// oldVisit says when a repository was last seen, whose registry is out of reach, and
// whether that is to be told; zero: it wasn't, or was denied since.
func (t *Tree) oldVisit(r ref.Repository) (seen time.Time, tell bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.seen[r]
	if !b.told.IsZero() {
		tell = b.showOn()
		t.seen[r] = b
	}
	return b.told, tell
}

// visited says whether a repository showed something lately.
func (t *Tree) visited(r ref.Repository) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen[r].believed()
}

// visitedHosts lists the hosts of which something was seen.
func (t *Tree) visitedHosts() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var hosts []string
	for name, h := range t.hosts {
		if h.answered.Load() {
			hosts = append(hosts, name)
		}
	}
	for name := range t.visits {
		hosts = append(hosts, name)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// visitedBelow lists the components right below a directory of a host, of repositories of
// which something was seen.
func (t *Tree) visitedBelow(host, dir string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(t.visits[host].below(dir))
}

// withControl is a root with .ocifs/ beside its other children.
type withControl struct {
	directory
	control directory
}

func (w *withControl) stat() stat {
	st := w.directory.stat()
	st.identity = rootIdentity
	return st
}

func (w *withControl) lookup(ctx context.Context, name string) (child, error) {
	if name == controlName {
		return child{name, w.control, forever}, nil
	}
	return w.directory.lookup(ctx, name)
}

func (w *withControl) list(ctx context.Context) (listing, error) {
	l, err := w.directory.list(ctx)
	if err != nil && !errors.Is(err, registry.ErrNotFound) { // a repository that isn't there yet is a root all the same
		return listing{}, err
	}
	names := append([]string{controlName}, l.names...)
	return listing{names: names, child: func(name string) child {
		if name == controlName {
			return child{name, w.control, forever}
		}
		return l.child(name)
	}}, nil
}
