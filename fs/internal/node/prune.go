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
	// write of 8 bytes a node.
	pruneBatch = 1024
	// prunePause is the wait for the kernel's FORGETs after a request. They come within a
	// millisecond where the nodes are free.
	prunePause = time.Millisecond
	// pruneRest is the wait after a round through all nodes that freed none: they are in use.
	pruneRest = time.Second
)

// held is what the pruner knows of a node.
type held struct {
	above    *base        // the directory that it was shown in, for good; nil: it is the root
	children atomic.Int64 // nodes that were shown in it, and aren't forgotten
	used     atomic.Bool  // a request came for it since the pruner last looked
	gone     atomic.Bool  // the kernel has forgotten it
	counted  atomic.Bool  // it is in pruner.count
	alone    bool         // it had no parent at the last look; guarded by pruner.mu
}

// pruner asks the kernel to forget nodes when there are more than Options.MaxNodes
// (FUSE_NOTIFY_PRUNE, from Linux 6.18 on). The oldest go first. A node for which a request
// came since the last look gets another turn, and a directory stays as long as the kernel has
// anything below it. The kernel keeps what a program has open or stands in.
//
// Forgetting costs a lookup when the name is used again, and no request to a registry that
// the lookup wouldn't send anyway.
type pruner struct {
	kernel *Kernel
	ask    func([]*gofs.Inode) syscall.Errno // asks the kernel to forget nodes: Kernel.forget, but in tests
	count  atomic.Int64                      // nodes that the kernel holds
	never  atomic.Bool                       // this kernel can't be asked

	mu      sync.Mutex // guards all below; held for no call to the kernel
	queue   []*base    // the nodes, the oldest first; some are gone by now
	running bool       // a goroutine prunes
}

// add counts a node that was shown in its directory.
func (p *pruner) add(n *base) {
	n.counted.Store(true)
	n.above.children.Add(1)
	count := p.count.Add(1)
	if p.kernel.o.MaxNodes == 0 || p.never.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) > 2*int(count)+pruneBatch { // most are gone: the kernel forgot them by itself
		p.queue = slices.DeleteFunc(p.queue, func(n *base) bool { return n.gone.Load() })
	}
	p.queue = append(p.queue, n)
	if count > int64(p.kernel.o.MaxNodes) && !p.running {
		p.running = true
		p.kernel.notify(p.prune)
	}
}

// drop takes a node out of the count, once.
func (p *pruner) drop(n *base) {
	if n.counted.Swap(false) {
		p.count.Add(-1)
		n.above.children.Add(-1)
	}
}

// use notes that a request came for a node.
func (b *base) use() {
	b.used.Store(true)
	if b.gone.CompareAndSwap(true, false) && b.above != nil {
		b.kernel.pruner.add(b) // it was looked up again while the kernel forgot it
	}
}

// OnForget is told by go-fuse that the kernel has forgotten the node.
func (b *base) OnForget() {
	b.gone.Store(true)
	b.kernel.pruner.drop(b)
	if f, ok := b.entry.(forgettable); ok {
		f.Forgotten()
	}
}

// prune prunes until there are few enough nodes. After a round that freed none it rests.
func (p *pruner) prune() {
	few := int64(p.kernel.o.MaxNodes) * 7 / 8
	for !p.stop(few) {
		before := p.count.Load()
		p.round(few)
		if p.count.Load() >= before {
			p.kernel.pause(pruneRest)
		}
	}
}

// round asks the kernel to forget all nodes that may be free, until there are few enough.
func (p *pruner) round(few int64) {
	looked := 0
	for total := p.length(); looked < total && !p.enough(few); {
		free, seen := p.next()
		looked += seen
		if len(free) == 0 {
			continue
		}
		if errno := p.ask(free); errno == syscall.ENOSYS {
			p.kernel.log.Info("this kernel can't be asked to forget nodes: those of all names that were used stay in memory until it needs memory itself (Linux can from 6.18 on)")
			p.never.Store(true)
		}
		p.kernel.pause(prunePause)
	}
}

// enough says whether there is nothing to prune any more.
func (p *pruner) enough(few int64) bool {
	return p.count.Load() <= few || p.never.Load() || p.kernel.life.Err() != nil
}

// stop ends the pruning if that is enough.
func (p *pruner) stop(few int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.enough(few) {
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

// next gives the nodes at the front of the queue that may be free, and how many it looked at.
// Nodes that are still there go to the back of the queue.
func (p *pruner) next() (free []*gofs.Inode, looked int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for end := min(len(p.queue), 8*pruneBatch); looked < end && len(free) < pruneBatch; {
		n := p.queue[looked]
		p.queue[looked] = nil
		looked++
		if n.gone.Load() {
			continue
		}
		_, parent := n.Parent()
		if parent == nil && n.alone {
			// Another node was there first under this identity: the kernel never had this one.
			p.drop(n)
			continue
		}
		n.alone = parent == nil // or it is just being shown
		p.queue = append(p.queue, n)
		if !n.used.Swap(false) && n.children.Load() == 0 && !n.alone {
			free = append(free, n.EmbeddedInode())
		}
	}
	p.queue = p.queue[looked:]
	return free, looked
}

// pause waits, unless the tree is closed.
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
