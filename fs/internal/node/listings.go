package node

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// listFS decides how much of a listing one reply brings, and when the reply is made.
//
// The kernel asks for entries with their nodes first (READDIRPLUS), and goes on so only if the
// program looked at some (READDIRPLUS_AUTO). So the first reply is small: a program that reads names
// alone needs no nodes.
//
// A program such as ls reads a reply, and then works on its entries. listFS makes the next reply
// meanwhile: otherwise either this process or the program is idle. The kernel asks by offsets, so
// listFS knows what it asks for next. It holds one reply, of one listing, so that it takes no more
// memory where many programs list.
//
// No reply with nodes is made ahead of a directory whose names the kernel mustn't keep. Such a name
// may mean something else a moment later, and to look it up may send a request.
//
// The kernel counts how often it got each node, and forgets as many. It never got the nodes of a
// reply that isn't sent, so listFS forgets those in its place, once for each entry.
type listFS struct {
	fuse.RawFileSystem
	kernel *Kernel

	mu    sync.Mutex  // guards the fields below; a leaf: not held while a reply is made or forgotten
	reply *aheadReply // the reply that is made ahead; nil: none
}

// Sizes of a reply, in bytes, at most. ls has a buffer of 1 MiB, for 6241 entries with their nodes
// (coreutils 9.1).
const (
	// firstReply has room for some 200 entries with their nodes. So has the buffer of most programs.
	// ls of 100,000 tags took a sixth longer with the nodes of 6241 entries, which nobody used.
	firstReply = 32 << 10
	// laterReply has room for some 1500. Larger ones take as long, and more memory.
	laterReply = 256 << 10
)

// room gives how many bytes the reply to a request may have.
func room(request *fuse.ReadIn) int {
	if request.Offset == 0 {
		return min(int(request.Size), firstReply)
	}
	return min(int(request.Size), laterReply)
}

// aheadFresh is how long a reply may be used after its making began. The kernel counts from the
// reply's arrival how long it may keep an entry, and so keeps it for longer by as much. ls -l asks
// for the next reply within 50 ms.
const aheadFresh = time.Second

// aheadReply is the reply to a request that the kernel is expected to make. Its buffer is never used
// again: go-fuse writes it to the kernel after the request has returned, and tells nobody when it is
// done with it.
type aheadReply struct {
	request fuse.ReadIn
	nodes   bool          // the request is for entries with their nodes
	begun   time.Duration // when its making began, as now gives it
	done    chan struct{} // closed when entries and status are there, and don't change any more
	entries fuse.DirEntryList
	status  fuse.Status // EIO if its making panicked
}

// fresh says whether the reply may be used.
func (r *aheadReply) fresh() bool { return now()-r.begun < aheadFresh }

// answers says whether the reply can be used for a request of the same handle.
func (r *aheadReply) answers(request *fuse.ReadIn, nodes bool) bool {
	return r.request.Offset == request.Offset && r.request.Size == request.Size && r.nodes == nodes && r.fresh()
}

func (f *listFS) ReadDir(cancel <-chan struct{}, request *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.read(cancel, request, false, out)
}

func (f *listFS) ReadDirPlus(cancel <-chan struct{}, request *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.read(cancel, request, true, out)
}

// read gives the reply to a request for entries, with their nodes or without.
func (f *listFS) read(cancel <-chan struct{}, request *fuse.ReadIn, nodes bool, out *fuse.DirEntryList) (status fuse.Status) {
	r := f.take(request.Fh)
	switch {
	case r != nil && r.answers(request, nodes) && r.status.Ok():
		*out, status = r.entries, r.status
	case r != nil && r.answers(request, nodes):
		// The failure was reported. To make the reply again may leave out the name that panicked.
		f.forget(r)
		return r.status
	default:
		f.forget(r)
		*out = *fuse.NewDirEntryList(out.Bytes()[:room(request)], request.Offset)
		status = f.list(cancel, request, nodes, out)
	}
	if status.Ok() && request.Offset > 0 && goesOn(request, nodes, out) {
		f.begin(request, nodes, out.Offset)
	}
	return status
}

// list makes the reply to a request.
func (f *listFS) list(cancel <-chan struct{}, request *fuse.ReadIn, nodes bool, out *fuse.DirEntryList) fuse.Status {
	if nodes {
		return f.RawFileSystem.ReadDirPlus(cancel, request, out)
	}
	return f.RawFileSystem.ReadDir(cancel, request, out)
}

func (f *listFS) ReleaseDir(request *fuse.ReleaseIn) {
	f.forget(f.take(request.Fh))
	f.RawFileSystem.ReleaseDir(request)
}

// goesOn says whether a reply is full, and the kernel may keep the first of its nodes for a second or
// more.
func goesOn(request *fuse.ReadIn, nodes bool, out *fuse.DirEntryList) bool {
	const valid = 16 // the offset of entry_valid in struct fuse_entry_out, in seconds
	b := out.Bytes()
	return len(b) > room(request)/2 && (!nodes || binary.NativeEndian.Uint64(b[valid:]) > 0)
}

// take takes the reply of a listing that asks for more or is closed; nil: there is none. It waits
// until the reply is made, which waits for no network: the listing is there.
func (f *listFS) take(handle uint64) (r *aheadReply) {
	f.mu.Lock()
	if f.reply != nil && f.reply.request.Fh == handle {
		r, f.reply = f.reply, nil
	}
	f.mu.Unlock()
	if r != nil {
		<-r.done
	}
	return r
}

// begin makes the reply after that to a request, unless another listing has a fresh one.
func (f *listFS) begin(request *fuse.ReadIn, nodes bool, offset uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old := f.reply
	if old != nil && old.fresh() || f.kernel.life.Err() != nil {
		return
	}
	r := &aheadReply{request: *request, nodes: nodes, begun: now(), done: make(chan struct{}), status: fuse.EIO}
	r.request.Offset = offset
	r.entries = *fuse.NewDirEntryList(make([]byte, room(request)), offset)
	f.reply = r
	f.kernel.launch(func() {
		defer close(r.done)
		f.forget(old)
		r.status = f.list(f.kernel.life.Done(), &r.request, nodes, &r.entries)
	})
}

// drop drops the reply, because it may be outdated.
func (f *listFS) drop() {
	f.mu.Lock()
	r := f.reply
	f.reply = nil
	f.mu.Unlock()
	f.forget(r)
}

// forget forgets the nodes of a reply that is never sent; nil: there is none. It waits until the reply
// is made.
func (f *listFS) forget(r *aheadReply) {
	if r == nil {
		return
	}
	<-r.done
	if !r.nodes {
		return
	}
	_, nodes, err := fuse.ParseDirLookupEntries(r.entries.Bytes())
	if err != nil { // go-fuse wrote them
		panic(err)
	}
	for _, n := range nodes {
		if n.NodeId != 0 {
			f.RawFileSystem.Forget(n.NodeId, 1)
		}
	}
}
