package node

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
)

const (
	// pruneBatch is how many nodes the kernel is asked to forget at once. The request is one
	// write of 8 bytes for each node.
	pruneBatch = 1024
	// prunePause is how often to look whether the kernel's FORGETs have come. They come
	// within a millisecond if the nodes are free.
	prunePause = time.Millisecond
	// pruneTries is how often to look before the others are taken to be in use.
	pruneTries = 20
	// maxListed is how many names of open listings the kernel may hold. A node that only ls -l
	// looked at takes some 400 bytes here.
	maxListed = 1 << 17
	// dropBound is how long to wait at most for the kernel to drop missing names. One name
	// takes some microseconds if no lookup is under way.
	dropBound = 100 * time.Millisecond
	// pruneRest is how long to wait after a round that freed no node, because all are in use.
	pruneRest = time.Second
	// lightsPerNode is how many light entries take the place of one node. Measured, with its
	// Entry and go-fuse's part: a file of a layer takes 470 bytes, others take one to three
	// kilobytes. With 3 the process has 103 MiB at its peak where a program walks over 800,000
	// files of 8 layers, with 2 it has 90 MiB.
	lightsPerNode = 2
)

// held is what the pruner knows of a node.
type held struct {
	// above is the directory in which it was shown, which never changes; nil: it is the root.
	above *base
	used  atomic.Bool // a request came for it since the pruner last looked
	gone  atomic.Bool // the kernel has forgotten it; changed under pruner.mu
	// children counts the nodes that were shown in it and aren't forgotten; guarded by
	// pruner.mu.
	children int32
	light    bool // its Entry is light; never changes
	counted  bool // it is in pruner.count; guarded by pruner.mu
	queued   bool // it is in pruner.queue; guarded by pruner.mu
	alone    bool // it had no parent at the last look; guarded by pruner.mu
	// asked says that the kernel was asked to forget it before; guarded by pruner.mu.
	asked bool
}

// maxMissing is how many missing names a node keeps. Programs look for a few names in every
// directory.
const maxMissing = 32

// pruner asks the kernel to forget nodes if there are more than Options.MaxNodes
// (FUSE_NOTIFY_PRUNE, since Linux 6.18). The oldest nodes go first. A node that got a request
// since the last look gets another turn. A directory stays as long as the kernel has anything
// below it. The kernel keeps what a program has open, or has as its working directory.
//
// A name that the kernel holds as missing keeps its directory in the kernel too. Before the
// pruner asks for such a directory again, it makes the kernel drop the missing names.
//
// The names of an open listing may be held beside Options.MaxNodes, up to maxListed of them: the
// program that lists them looks at them next. Linux keeps no attributes that came while it forgot
// any inode (evict_ctr of fs/fuse), so ls -l of 100,000 tags took 10 s in place of 2 when it was
// pruned meanwhile (measured on 6.18).
//
// A forgotten name costs a lookup when it is used again. That sends no request to a registry that
// another lookup wouldn't send.
type pruner struct {
	kernel *Kernel
	// ask asks the kernel to forget nodes. It is Kernel.forget, except in tests.
	ask   func([]*gofs.Inode) syscall.Errno
	count atomic.Int64 // nodes that the kernel holds; changed under mu
	freed atomic.Int64 // nodes that the kernel ever forgot; changed under mu
	// dirs counts the directories among count; changed under mu.
	dirs atomic.Int64
	// lights counts the light ones among count; changed under mu.
	lights atomic.Int64
	never  atomic.Bool  // this kernel can't be asked
	names  atomic.Int64 // names in listings that are open

	mu      sync.Mutex // guards the fields below; not held over a call to the kernel
	queue   []*base    // the nodes, the oldest first; some are gone by now
	running bool       // a goroutine prunes
	// missing has, for nodes of directories, the last maxMissing names in each that the kernel may
	// hold as missing. It is no field of a node, because few directories have any.
	missing map[*base][]string
}

// add counts a node that was shown in its directory, or was looked up again while the kernel
// forgot it.
func (p *pruner) add(n *base) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.gone.Store(false)
	if n.counted {
		return
	}
	n.counted = true
	n.above.children++
	count := p.count.Add(1)
	p.weigh(n, 1)
	if p.kernel.o.MaxNodes == 0 || p.never.Load() || n.queued {
		return
	}
	// Most of the queue is gone, because the kernel forgot the nodes by itself.
	if len(p.queue) > 2*int(count)+pruneBatch {
		p.queue = slices.DeleteFunc(p.queue, p.unqueues)
	}
	n.queued = true
	p.queue = append(p.queue, n)
	p.start()
}

// start prunes if there are too many nodes. mu is held.
func (p *pruner) start() {
	if p.count.Load() > p.limit() && !p.running {
		p.running = true
		p.kernel.launch(p.prune)
	}
}

// weigh counts n nodes that take another place than most do. mu is held.
func (p *pruner) weigh(n *base, nodes int64) {
	switch {
	case n.IsDir():
		p.dirs.Add(nodes)
	case n.light:
		p.lights.Add(nodes)
	}
}

// limit is how many nodes the kernel may hold, being such as they are. A directory takes the place of
// two, and lightsPerNode light entries that of one.
func (p *pruner) limit() int64 {
	most := int64(p.kernel.o.MaxNodes)
	lights := p.lights.Load()
	return max(most-p.dirs.Load(), most/2) + lights - lights/lightsPerNode + min(p.names.Load(), maxListed)
}

// childrenOf counts the nodes in a directory that the kernel holds.
func (p *pruner) childrenOf(dir *base) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(dir.children)
}

// opened notes that a listing of so many names is open, closed that it isn't any more.
func (p *pruner) opened(names int) { p.names.Add(int64(names)) }

func (p *pruner) closed(names int) {
	p.names.Add(-int64(names))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kernel.o.MaxNodes > 0 && !p.never.Load() {
		p.start()
	}
}

// drop uncounts a node that the kernel doesn't have. mu is held.
func (p *pruner) drop(n *base) {
	n.gone.Store(true)
	delete(p.missing, n)
	if n.counted {
		n.counted = false
		p.count.Add(-1)
		p.weigh(n, -1)
		p.freed.Add(1)
		n.above.children--
	}
}

// unqueues says whether a node leaves the queue: the kernel has forgotten it, or never had it,
// because another node with its identity came first. mu is held.
func (p *pruner) unqueues(n *base) bool {
	if !n.gone.Load() {
		_, parent := n.Parent()
		if parent != nil || !n.alone {
			n.alone = parent == nil // or it is just being shown
			return false
		}
		p.drop(n)
	}
	n.queued = false
	return true
}

// use notes that a request came for a node.
func (b *base) use() {
	b.used.Store(true)
	if b.gone.Load() && b.above != nil {
		b.kernel.pruner.add(b)
		if f, ok := b.entry.(forgettable); ok {
			f.Remembered()
		}
	}
}

// OnForget is called by go-fuse when the kernel has forgotten the node.
func (b *base) OnForget() {
	b.kernel.pruner.forgotten(b)
	if f, ok := b.entry.(forgettable); ok {
		f.Forgotten()
	}
}

func (p *pruner) forgotten(n *base) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.above != nil {
		p.drop(n)
	}
}

// misses notes that the kernel may hold a name in this directory as missing.
func (b *base) misses(name string) {
	p := &b.kernel.pruner
	if p.kernel.o.MaxNodes == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	missing := p.missing[b]
	if b.gone.Load() || slices.Contains(missing, name) {
		return
	}
	if len(missing) == maxMissing {
		missing = slices.Delete(missing, 0, 1)
	}
	if p.missing == nil {
		p.missing = map[*base][]string{}
	}
	p.missing[b] = append(missing, name)
}

// prune asks the kernel to forget nodes until there are few enough. It rests after a round that
// freed none.
func (p *pruner) prune() {
	for !p.stop() {
		before := p.freed.Load()
		p.round()
		if p.freed.Load() == before {
			p.kernel.pause(pruneRest)
		}
	}
}

// round asks the kernel once to forget each node that may be free, until there are few enough.
// It asks for no more than have to go: the newest are likely to be used next.
func (p *pruner) round() {
	looked := 0
	for total := p.length(); looked < total && !p.enough(); {
		free, again, seen := p.next(int(min(max(p.count.Load()-p.few(), 1), pruneBatch)))
		looked += seen
		if len(free) == 0 {
			continue
		}
		p.kernel.dropMissing(again)
		before := p.freed.Load()
		if errno := p.ask(free); errno == syscall.ENOSYS {
			p.kernel.log.Info("this kernel can't be asked to forget nodes: those of all names that were used stay in memory until it needs memory itself (Linux can from 6.18 on)")
			p.never.Store(true)
		}
		p.await(before + int64(len(free)))
	}
}

// await waits until the kernel has forgotten so many nodes, for pruneTries looks at most: nodes
// in use stay.
func (p *pruner) await(freed int64) {
	for range pruneTries {
		p.kernel.pause(prunePause)
		if p.freed.Load() >= freed || p.kernel.life.Err() != nil {
			return
		}
	}
}

// few is how many nodes are left after the pruning.
func (p *pruner) few() int64 { return p.limit() - int64(p.kernel.o.MaxNodes)/8 }

// enough says whether the pruning can end.
func (p *pruner) enough() bool {
	return p.count.Load() <= p.few() || p.never.Load() || p.kernel.life.Err() != nil
}

// stop ends the pruning if it can end.
func (p *pruner) stop() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.enough() {
		return false
	}
	p.running = false
	if p.never.Load() {
		p.queue = nil
	}
	return true
}

func (p *pruner) length() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

// next gives at most so many nodes at the front of the queue that may be free, and how many
// nodes it looked at. again are the missing names in those nodes that were asked for before. Nodes that still
// exist go to the back of the queue.
func (p *pruner) next(most int) (free []*gofs.Inode, again []missingName, looked int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for end := min(len(p.queue), 8*pruneBatch); looked < end && len(free) < most; {
		n := p.queue[looked]
		p.queue[looked] = nil
		looked++
		if p.unqueues(n) {
			continue
		}
		p.queue = append(p.queue, n)
		if n.used.Swap(false) || n.children > 0 || n.alone {
			continue
		}
		free = append(free, n.EmbeddedInode())
		if n.asked {
			for _, name := range p.missing[n] {
				again = append(again, missingName{n.EmbeddedInode(), name})
			}
			delete(p.missing, n)
		}
		n.asked = true
	}
	p.queue = p.queue[looked:]
	return free, again, looked
}

// missingName is a name that a directory lacks.
type missingName struct {
	dir  *gofs.Inode
	name string
}

// dropMissing makes the kernel look up missing names again. Each notification waits for the
// lookups under way in its directory, so dropMissing waits for all of them with a time limit.
func (k *Kernel) dropMissing(names []missingName) {
	if len(names) == 0 {
		return
	}
	done := make(chan struct{})
	k.launch(func() {
		defer close(done)
		for _, m := range names {
			_ = m.dir.NotifyEntry(m.name)
		}
	})
	t := time.NewTimer(dropBound)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	case <-k.life.Done():
	}
}

// pause waits for d, or until the tree is closed.
func (k *Kernel) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-k.life.Done():
	}
}

// forget asks the kernel to forget nodes.
func (k *Kernel) forget(nodes []*gofs.Inode) syscall.Errno {
	k.mu.Lock()
	top := k.top
	k.mu.Unlock()
	if top == nil {
		return syscall.ENOTCONN
	}
	return top.NotifyPrune(nodes)
}
