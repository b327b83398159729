package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// anyDir is a directory that has every name: as a lightLink if it begins with "light", else as a
// directory.
type anyDir struct {
	path      string
	forgotten *sync.Map // the paths of the directories that the kernel forgot
}

func (d *anyDir) Path() string { return d.path }

func (d *anyDir) Attr() Attr {
	return Attr{Identity: IdentityOf(d.path, ""), Mode: syscall.S_IFDIR | 0o555, TTL: time.Hour}
}

func (d *anyDir) Lookup(_ context.Context, name string) (Child, error) {
	if strings.HasPrefix(name, "none") {
		return Child{}, ErrNotExist
	}
	if path := Join(d.path, name); strings.HasPrefix(name, "light") {
		return Child{name, lightLink(path), time.Hour}, nil
	}
	return Child{name, &anyDir{Join(d.path, name), d.forgotten}, time.Hour}, nil
}

func (d *anyDir) List(context.Context) (Listing, error) { return Listing{}, nil }

func (d *anyDir) Forgotten()  { d.forgotten.Store(d.path, true) }
func (d *anyDir) Remembered() { d.forgotten.Delete(d.path) }

// lightLink is a light symlink at a path.
type lightLink string

func (l lightLink) Path() string { return string(l) }
func (lightLink) Light()         {}
func (lightLink) Target() string { return "" }

func (l lightLink) Attr() Attr {
	return Attr{Identity: IdentityOf(string(l), ""), Mode: syscall.S_IFLNK | 0o777, TTL: time.Hour}
}

// fakeKernel holds nodes as a kernel does.
type fakeKernel struct {
	t *testing.T
	k *Kernel
	fuse.RawFileSystem
	forgotten sync.Map

	mu    sync.Mutex
	holds map[uint64]uint64 // lookups that weren't forgotten, by node
	ids   map[uint64]uint64 // nodes by their inode numbers
	used  map[uint64]bool   // nodes that it can't forget
	asked int
}

func newFakeKernel(t *testing.T, most int) *fakeKernel {
	f := &fakeKernel{t: t, k: New(Options{MaxNodes: most}), holds: map[uint64]uint64{}, ids: map[uint64]uint64{}, used: map[uint64]bool{}}
	top := &anyDir{"", &f.forgotten}
	f.RawFileSystem, _ = f.k.Bridge(top)
	f.k.pruner.ask = f.prunes
	t.Cleanup(func() { f.k.Close(context.Background()) }) // the test's own has ended
	return f
}

// looks walks along a path and gives the node there.
func (f *fakeKernel) looks(path string) uint64 {
	f.t.Helper()
	at := uint64(fuse.FUSE_ROOT_ID)
	for name := range strings.SplitSeq(path, "/") {
		var out fuse.EntryOut
		if st := f.Lookup(nil, &fuse.InHeader{NodeId: at}, name, &out); !st.Ok() {
			f.t.Fatalf("lookup of %s: %v", path, st)
		}
		f.mu.Lock()
		f.holds[out.NodeId]++
		f.ids[out.Ino] = out.NodeId
		f.mu.Unlock()
		at = out.NodeId
	}
	return at
}

// prunes is FUSE_NOTIFY_PRUNE.
func (f *fakeKernel) prunes(nodes []*gofs.Inode) syscall.Errno {
	f.mu.Lock()
	f.asked += len(nodes)
	forget := map[uint64]uint64{}
	for _, n := range nodes {
		if id := f.ids[n.StableAttr().Ino]; f.holds[id] > 0 && !f.used[id] {
			forget[id] = f.holds[id]
			delete(f.holds, id)
		}
	}
	f.mu.Unlock()
	for id, n := range forget {
		f.Forget(id, n)
	}
	return 0
}

// settles waits until no more than some nodes are counted.
func (f *fakeKernel) settles(most int64) {
	f.t.Helper()
	for end := time.Now().Add(20 * time.Second); f.k.Nodes() > most; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("%d nodes are held, want %d at most", f.k.Nodes(), most)
		}
	}
}

// The kernel is asked to forget the oldest nodes, and what is in use stays, with the
// directories on the way to it. What was forgotten is found again.
func TestNodesHaveABound(t *testing.T) {
	const most, names = 1000, 20_000
	f := newFakeKernel(t, most)
	stands := f.looks("a/b/c/d")
	f.used[stands] = true
	for i := range names {
		f.looks(fmt.Sprintf("dir%d/name%d", i%50, i))
	}
	f.settles(most)
	if f.asked == 0 {
		t.Error("the kernel wasn't asked")
	}
	held := func() int64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return int64(len(f.holds))
	}
	for end := time.Now().Add(10 * time.Second); held() != f.k.Nodes(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the kernel holds %d, and %d are counted", held(), f.k.Nodes())
		}
	}
	for _, path := range []string{"a", "a/b", "a/b/c", "a/b/c/d"} {
		if _, gone := f.forgotten.Load(path); gone {
			t.Errorf("%s was forgotten, which a program stands in or below", path)
		}
	}
	if again := f.looks("a/b/c/d"); again != stands {
		t.Errorf("what a program stands in was node %d and is %d", stands, again)
	}
	if _, gone := f.forgotten.Load("dir0/name0"); !gone {
		t.Error("the oldest name wasn't forgotten")
	}
	f.looks("dir0/name0")
}

// A directory takes the place of two nodes, because it takes the memory of two.
func TestADirectoryCountsTwice(t *testing.T) {
	const most = 1000
	f := newFakeKernel(t, most)
	for i := range 5 * most {
		f.looks(fmt.Sprint("name", i))
	}
	f.settles(most / 2)
}

// Light entries take little memory, so that the kernel may hold more of them, beside directories too.
func TestLightEntriesCountForAHalf(t *testing.T) {
	const most, dirs = 1000, 200
	f := newFakeKernel(t, most)
	for i := range 5 * lightsPerNode * most {
		f.looks(fmt.Sprintf("dir%d/light%d", i%dirs, i))
	}
	const room = most - 2*dirs
	f.settles(dirs + lightsPerNode*room)
	if n := f.k.Nodes(); n < dirs+lightsPerNode*(room-most/8) {
		t.Errorf("%d nodes are held, where there is room for %d", n, dirs+lightsPerNode*room)
	}
}

// No more nodes go than have to: a program may have listed the newest, and not looked at them
// yet.
func TestTheNewestNodesStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // by a clock that doesn't run while something works
		const most, newest = 1000, 500
		var late sync.WaitGroup
		t.Cleanup(late.Wait)          // after the kernel's end, which stops the asking
		f := newFakeKernel(t, 2*most) // all of them are directories
		lag := f.prunes
		f.k.pruner.ask = func(nodes []*gofs.Inode) syscall.Errno { // FORGETs come later
			late.Go(func() {
				time.Sleep(3 * time.Millisecond)
				lag(nodes)
			})
			return 0
		}
		for i := range 20 * most {
			f.looks(fmt.Sprint("name", i))
			for k := max(0, i-newest); k < i; k += newest / 5 {
				if _, gone := f.forgotten.Load(fmt.Sprint("name", k)); gone {
					t.Fatalf("of %d names the one before the last %d is forgotten", i, i-k)
				}
			}
			if i%50 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		f.settles(most)
	})
}

// Nodes that are all in use are asked for in vain, and not all the time. They go when they can.
func TestNodesInUseAreLeftAlone(t *testing.T) {
	const most = 100
	f := newFakeKernel(t, most)
	for i := range 4 * most {
		id := f.looks(fmt.Sprint("name", i))
		f.mu.Lock()
		f.used[id] = true
		f.mu.Unlock()
	}
	time.Sleep(50 * time.Millisecond)
	f.mu.Lock()
	asked := f.asked
	clear(f.used)
	f.mu.Unlock()
	if asked > 100*most {
		t.Errorf("the kernel was asked %d times for %d nodes", asked, 4*most)
	}
	f.settles(most)
}

// A name that is looked up over and over is one node, and one that isn't there is none.
func TestANodeIsCountedOnce(t *testing.T) {
	f := newFakeKernel(t, 0)
	for range 3 {
		f.looks("a/b")
	}
	var out fuse.EntryOut
	f.Lookup(nil, &fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID}, "none", &out)
	if n := f.k.Nodes(); n != 2 {
		t.Errorf("%d nodes are counted, want 2", n)
	}
	ids := slices.Sorted(maps.Keys(f.holds))
	for _, id := range slices.Backward(ids) {
		f.Forget(id, f.holds[id])
	}
	if n := f.k.Nodes(); n != 0 {
		t.Errorf("%d nodes are counted after all were forgotten", n)
	}
	f.looks("a/b")
	if n := f.k.Nodes(); n != 2 {
		t.Errorf("%d nodes are counted, want 2", n)
	}
}

// A kernel that can't be asked isn't asked again, and nothing is kept for it.
func TestAKernelThatCannotForgetIsAskedOnce(t *testing.T) {
	f := newFakeKernel(t, 10)
	asked := 0
	f.k.pruner.ask = func([]*gofs.Inode) syscall.Errno {
		asked++
		return syscall.ENOSYS
	}
	for i := range 1000 {
		f.looks(fmt.Sprint("name", i))
	}
	// The goroutine that asks may only start when all looks are over.
	for late := time.Now().Add(10 * time.Second); !f.k.pruner.never.Load() && time.Now().Before(late); {
		time.Sleep(time.Millisecond)
	}
	f.k.Close(t.Context())
	if asked != 1 {
		t.Errorf("it was asked %d times", asked)
	}
	f.k.pruner.mu.Lock()
	defer f.k.pruner.mu.Unlock()
	if n := len(f.k.pruner.queue); n > 100 {
		t.Errorf("%d nodes are queued for it", n)
	}
}

// Names that come and go, as programs make and remove files, leave nothing behind.
func TestNodesThatAreGoneLeaveNothing(t *testing.T) {
	f := newFakeKernel(t, 1000)
	for i := range 20_000 {
		id := f.looks(fmt.Sprint("name", i))
		f.Forget(id, 1)
	}
	f.k.pruner.mu.Lock()
	defer f.k.pruner.mu.Unlock()
	if n := len(f.k.pruner.queue); f.k.Nodes() != 0 || n > 2*pruneBatch {
		t.Errorf("%d nodes are counted, and %d are queued", f.k.Nodes(), n)
	}
}
