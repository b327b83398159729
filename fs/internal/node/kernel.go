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
	// Verdicts decides errnos, in this order; see Verdict.
	Verdicts []Verdict
	// Quiet says of an error that it is counted and not told; nil: all are told.
	Quiet func(error) bool
	// LookupBound is the longest that a lookup or an open waits; 0: for ever.
	LookupBound time.Duration
	// MaxNodes bounds the nodes that the kernel holds, where it can be asked to forget some;
	// 0: nothing does.
	MaxNodes int

	Owner      uint32 // the user who may change what is Changeable
	ReadOnly   bool   // the whole mount is
	AllowOther bool   // other users may look into it
	Xattr      bool   // entries have extended attributes
	// Usage tells how full the file system is, in bytes.
	Usage  func() (Usage, error)
	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: time.Now
}

// Kernel is the kernel that the entries of one tree are shown to. It is safe for concurrent
// use.
type Kernel struct {
	o        Options
	log      *slog.Logger
	failures *Failures
	panics   atomic.Int64
	through  atomic.Bool // reads pass through to the cache files
	pruner   pruner

	life    context.Context // until Close
	end     context.CancelFunc
	telling sync.WaitGroup // the goroutines that notify the kernel

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
	k := &Kernel{o: o, log: o.Logger, failures: newFailures(o.Logger, o.Quiet, o.Now)}
	k.life, k.end = context.WithCancel(context.Background())
	k.pruner.kernel, k.pruner.ask = k, k.forget
	return k
}

// Failures gives what went wrong.
func (k *Kernel) Failures() *Failures { return k.failures }

// Panics counts the panics.
func (k *Kernel) Panics() int64 { return k.panics.Load() }

// Panicked counts a panic, and leaves its stack in the log. A panic below a request is told by
// all who recover one.
func (k *Kernel) Panicked(cause any, stack []byte) {
	k.panics.Add(1)
	k.log.Error("panic", "cause", cause, "stack", string(stack))
}

// PassesThrough says whether the kernel reads cache files without asking.
func (k *Kernel) PassesThrough() bool { return k.through.Load() }

// Nodes counts the nodes that the kernel holds.
func (k *Kernel) Nodes() int64 { return k.pruner.count.Load() }

// Close ends what is done for the kernel. The goroutines that notify it are waited for until
// ctx ends: the kernel lets them go once nothing holds up the lookups that they wait for.
func (k *Kernel) Close(ctx context.Context) {
	k.end()
	done := make(chan struct{})
	go func() {
		k.telling.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// notify does something in a goroutine that notifies the kernel.
func (k *Kernel) notify(do func()) {
	k.telling.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				k.Panicked(p, debug.Stack())
			}
		}()
		do()
	})
}

// bound is ctx with the longest wait of a lookup over it.
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

// base is what all nodes have. The kernel's node of an Entry is the one that came first.
type base struct {
	gofs.Inode
	kernel *Kernel
	entry  Entry
	held
}

func (b *base) common() *base { return b }

// shown is a node of this package.
type shown interface {
	gofs.InodeEmbedder
	common() *base
}

var (
	_ shown = (*dirNode)(nil)
	_ shown = (*fileNode)(nil)
	_ shown = (*linkNode)(nil)

	_ gofs.NodeGetattrer   = (*base)(nil)
	_ gofs.NodeOnForgetter = (*base)(nil)
)

// newNode makes the node of an Entry.
func (k *Kernel) newNode(e Entry) shown {
	var n shown
	switch e := e.(type) {
	case Directory:
		n = &dirNode{dir: e}
	case Symlink:
		n = &linkNode{link: e}
	case File:
		n = &fileNode{file: e}
	default:
		panic(fmt.Sprintf("node: %T is neither a directory, nor a file, nor a symlink", e))
	}
	b := n.common()
	b.kernel, b.entry = k, e
	return n
}

// show shows an Entry to the kernel as a child of this node.
func (b *base) show(ctx context.Context, c Child, out *fuse.EntryOut) *gofs.Inode {
	a := c.Attr()
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

// fill tells the kernel attributes.
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

// getattr tells the kernel the attributes of this moment.
func (b *base) getattr(out *fuse.AttrOut) {
	a := b.entry.Attr()
	fill(a, &out.Attr)
	out.SetTimeout(a.TTL)
}

// Getattr is stat(2).
func (b *base) Getattr(_ context.Context, _ gofs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	b.use()
	b.getattr(out)
	return 0
}

// fail gives the errno of a failed operation on this node.
func (b *base) fail(ctx context.Context, op string, err error) syscall.Errno {
	return b.kernel.Fail(ctx, b.entry.Path(), op, err)
}

// failAt gives the errno of a failed operation on a name in this directory.
func (b *base) failAt(ctx context.Context, name, op string, err error) syscall.Errno {
	return b.kernel.Fail(ctx, Join(b.entry.Path(), name), op, err)
}

// Join joins paths of the tree, either of which may be "". Their components are names that
// Lookup and List admit, so there is nothing to clean, which path.Join spends its time on.
func Join(dir, name string) string {
	switch {
	case dir == "":
		return name
	case name == "":
		return dir
	}
	return dir + "/" + name
}

// linkNode is a symlink as the kernel has it.
type linkNode struct {
	base
	link Symlink
}

var _ gofs.NodeReadlinker = (*linkNode)(nil)

func (n *linkNode) Readlink(context.Context) ([]byte, syscall.Errno) {
	return []byte(n.link.Target()), 0
}
