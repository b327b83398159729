package node

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocifs/ocifs/fs/internal/caller"
)

// Options says how entries are shown.
type Options struct {
	// Verdicts maps errors to errnos. The first match counts; see Verdict.
	Verdicts []Verdict
	// Quiet says whether an error is only counted, and not reported; nil: all are reported.
	Quiet func(error) bool
	// LookupBound is how long a lookup or an open waits at most; 0: for ever.
	LookupBound time.Duration
	// MaxNodes is how many nodes the kernel may hold, if it can be asked to forget some; 0:
	// no limit. A directory takes the place of two, and a light Entry that of a half.
	MaxNodes int

	Owner      uint32 // the user who may change what is Changeable
	ReadOnly   bool   // the whole mount is read-only
	AllowOther bool   // other users may look into it
	Xattr      bool   // entries have extended attributes
	// Source is what the kernel lists as the source of the mount; "": FSType. macOS always lists
	// FSType, because there is no other sign of whose mount it is.
	Source string
	// MountOptions are more options for mount(2).
	MountOptions []string
	// Usage gives how full the file system is, in bytes.
	Usage  func() (Usage, error)
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now
}

// Kernel is the kernel to which the entries of one tree are shown. It is safe for concurrent use.
type Kernel struct {
	o        Options
	log      *slog.Logger
	failures *Failures
	panics   atomic.Int64
	through  atomic.Bool // the kernel reads cache files by itself
	pruner   pruner
	listings listFS // between go-fuse's file system and the kernel
	// operations counts the requests of the kernel.
	operations *operations

	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup // counts the goroutines of launch

	mu  sync.Mutex  // guards top
	top *gofs.Inode // the mountpoint; nil: not mounted yet
}

// New makes a Kernel. It does nothing before Mount.
func New(o Options) *Kernel {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	k := &Kernel{o: o, log: o.Logger, failures: newFailures(o.Logger, o.Quiet, o.Now), operations: newOperations()}
	k.life, k.end = context.WithCancel(context.Background())
	k.pruner.kernel, k.pruner.ask = k, k.forget
	k.listings.kernel = k
	return k
}

// Failures gives the failures so far.
func (k *Kernel) Failures() *Failures { return k.failures }

// Panics counts the panics.
func (k *Kernel) Panics() int64 { return k.panics.Load() }

// Panicked counts a panic, and writes its stack to the log. Everybody who recovers a panic in
// work for a request calls it.
func (k *Kernel) Panicked(cause any, stack []byte) {
	k.panics.Add(1)
	k.log.Error("panic", "cause", cause, "stack", string(stack))
}

// PassesThrough says whether the kernel reads cache files by itself.
func (k *Kernel) PassesThrough() bool { return k.through.Load() }

// Nodes counts the nodes that the kernel holds.
func (k *Kernel) Nodes() int64 { return k.pruner.count.Load() }

// Close ends the work for the kernel. It waits until ctx ends for the goroutines that notify the
// kernel or make replies ahead. The kernel lets them go when the lookups for which they wait can end.
func (k *Kernel) Close(ctx context.Context) {
	k.end()
	done := make(chan struct{})
	go func() {
		k.work.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// launch calls do in a goroutine of the Kernel, for which Close waits. do may wait for the kernel.
func (k *Kernel) launch(do func()) {
	k.work.Go(func() { k.Caught(do) })
}

// Caught calls do. A panic of do is told like that of a request, and goes no further.
func (k *Kernel) Caught(do func()) {
	defer func() {
		if p := recover(); p != nil {
			k.Panicked(p, debug.Stack())
		}
	}()
	do()
}

// bound gives ctx with the time limit of a lookup.
func (k *Kernel) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if k.o.LookupBound == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, k.o.LookupBound)
}

// callerOf gives the caller of a request.
func callerOf(ctx context.Context) caller.Caller {
	c, ok := fuse.FromContext(ctx)
	if !ok {
		return caller.Caller{}
	}
	return caller.Caller{Program: true, UID: c.Uid, Thread: c.Pid}
}

const (
	fileType    = syscall.S_IFMT
	permissions = 0o7777
)

// base is the common part of all nodes. Of several entries with one identity, the node has the
// first one.
type base struct {
	gofs.Inode
	kernel *Kernel
	entry  Entry
	held
}

func (b *base) common() *base { return b }

// shown is any node of this package.
type shown interface {
	gofs.InodeEmbedder
	common() *base
}

var (
	_ shown = (*dirNode)(nil)
	_ shown = (*fileNode)(nil)
	_ shown = (*linkNode)(nil)
	_ shown = (*specialNode)(nil)

	_ gofs.NodeGetattrer   = (*base)(nil)
	_ gofs.NodeOnForgetter = (*base)(nil)
)

// newNode makes the node of an Entry.
func (k *Kernel) newNode(e Entry) shown {
	var n shown
	switch e.(type) {
	case Directory:
		n = &dirNode{}
	case Symlink:
		n = &linkNode{}
	case File:
		n = &fileNode{}
	case Special:
		n = &specialNode{}
	default:
		panic(fmt.Sprintf("node: %T is neither a directory, nor a file, nor a symlink, nor a special file", e))
	}
	b := n.common()
	b.kernel, b.entry = k, e
	_, b.light = e.(light)
	return n
}

// show shows an Entry with its attributes to the kernel as a child of this node.
func (b *base) show(ctx context.Context, c Child, a Attr, out *fuse.EntryOut) *gofs.Inode {
	fill(a, &out.Attr)
	out.SetEntryTimeout(max(c.TTL, 0))
	out.SetAttrTimeout(a.TTL)
	if there := b.GetChild(c.Name); there != nil && there.StableAttr() == a.stable() {
		if n := there.Operations().(shown).common(); !n.gone.Load() {
			n.use()
			return there
		}
	}
	n := b.kernel.newNode(c.Entry)
	n.common().above = b
	inode := b.NewInode(ctx, n, a.stable())
	b.kernel.pruner.add(n.common())
	return inode
}

// fill gives attributes to the kernel.
func fill(a Attr, out *fuse.Attr) {
	out.Ino = a.Ino
	out.Mode = a.Mode
	out.Size = uint64(a.Size)
	out.Blocks = (out.Size + 511) / 512
	out.Blksize = maxRequest
	out.Nlink = max(a.Nlink, 1)
	out.Rdev = a.Rdev
	out.Uid, out.Gid = a.UID, a.GID
	out.SetTimes(&a.Mtime, &a.Mtime, &a.Mtime)
}

// getattr gives the present attributes to the kernel.
func (b *base) getattr(out *fuse.AttrOut) {
	a := b.entry.Attr()
	fill(a, &out.Attr)
	out.SetTimeout(a.TTL)
}

// Getattr is stat(2).
func (b *base) Getattr(ctx context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	b.use()
	d, ok := b.entry.(patient)
	if !ok {
		b.getattr(out)
		return 0
	}
	a, err := d.AttrFor(ctx, callerOf(ctx))
	if err != nil {
		return b.fail(ctx, "getattr", err)
	}
	fill(a, &out.Attr)
	out.SetTimeout(a.TTL)
	return 0
}

// fail gives the errno of a failed operation on this node, and reports the failure.
func (b *base) fail(ctx context.Context, op string, err error) syscall.Errno {
	return b.kernel.Fail(ctx, b.entry.Path(), op, err)
}

// failAt gives the errno of a failed operation on a name in this directory, and reports the
// failure.
func (b *base) failAt(ctx context.Context, name, op string, err error) syscall.Errno {
	return b.kernel.Fail(ctx, Join(b.entry.Path(), name), op, err)
}

// Join joins paths of the tree. Either may be "". It cleans nothing, as path.Join does with much
// work, because the components are names that Lookup and List admit.
func Join(dir, name string) string {
	switch {
	case dir == "":
		return name
	case name == "":
		return dir
	}
	return dir + "/" + name
}

// specialNode is the node of a Special.
type specialNode struct{ base }

// linkNode is the node of a symlink.
type linkNode struct{ base } // whose entry is a Symlink

var _ gofs.NodeReadlinker = (*linkNode)(nil)

func (n *linkNode) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	if l, ok := n.entry.(breakable); ok {
		if err := l.Broken(); err != nil {
			return nil, n.fail(ctx, "readlink", err)
		}
	}
	return []byte(n.entry.(Symlink).Target()), 0
}
