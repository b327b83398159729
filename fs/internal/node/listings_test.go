package node

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// longDir is a directory of many names.
type longDir struct {
	anyDir
	names []string
	ttl   time.Duration // how long each name means the same
	made  atomic.Int64  // how many children were made
	// panics is a name whose child can't be made; "": none.
	panics string
}

func (d *longDir) List(context.Context) (Listing, error) {
	return Listing{Names: d.names, Child: func(name string) Child {
		d.made.Add(1)
		if name == d.panics {
			panic(name)
		}
		return Child{name, lightLink(name), d.ttl}
	}}, nil
}

// reader is a kernel that lists the root of a file system.
type reader struct {
	t   *testing.T
	k   *Kernel
	raw fuse.RawFileSystem
	dir *longDir
	// held are the nodes that the kernel got and didn't forget, with how often.
	held map[uint64]uint64
}

// reads makes a reader of a directory of so many names.
func reads(t *testing.T, names int, ttl time.Duration) *reader {
	r := &reader{t: t, k: New(Options{MaxNodes: 1 << 20}), dir: &longDir{ttl: ttl}, held: map[uint64]uint64{}}
	for i := range names {
		r.dir.names = append(r.dir.names, fmt.Sprintf("name-%04d", i))
	}
	r.raw, _ = r.k.Bridge(r.dir)
	t.Cleanup(func() { r.k.Close(context.Background()) }) // the test's own has ended
	return r
}

// open opens the directory. The listing is closed by close.
func (r *reader) open() (handle uint64) {
	r.t.Helper()
	var out fuse.OpenOut
	if s := r.raw.OpenDir(nil, &fuse.OpenIn{InHeader: fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID}}, &out); !s.Ok() {
		r.t.Fatal(s)
	}
	return out.Fh
}

func (r *reader) close(handle uint64) {
	r.raw.ReleaseDir(&fuse.ReleaseIn{InHeader: fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID}, Fh: handle})
}

// plus gives the names of one reply with nodes, and where the next one begins.
func (r *reader) plus(handle, offset uint64, size int) (names []string, next uint64) {
	r.t.Helper()
	out := fuse.NewDirEntryList(make([]byte, size), offset)
	if s := r.raw.ReadDirPlus(nil, r.request(handle, offset, size), out); !s.Ok() {
		r.t.Fatal(s)
	}
	entries, nodes, err := fuse.ParseDirLookupEntries(out.Bytes())
	if err != nil {
		r.t.Fatal(err)
	}
	for i, e := range entries {
		if e.Name == "." || e.Name == ".." {
			continue
		}
		names = append(names, e.Name)
		r.held[nodes[i].NodeId]++
		if want := (IdentityOf(e.Name, "")); nodes[i].Ino != want.Ino || e.Ino != want.Ino {
			r.t.Errorf("%s has inode number %d, and %d in its attributes; want %d", e.Name, e.Ino, nodes[i].Ino, want.Ino)
		}
	}
	return names, out.Offset
}

// bare is plus without nodes.
func (r *reader) bare(handle, offset uint64, size int) (names []string, next uint64) {
	r.t.Helper()
	out := fuse.NewDirEntryList(make([]byte, size), offset)
	if s := r.raw.ReadDir(nil, r.request(handle, offset, size), out); !s.Ok() {
		r.t.Fatal(s)
	}
	entries, err := fuse.ParseDirEntries(out.Bytes())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name != "." && e.Name != ".." {
			names = append(names, e.Name)
		}
	}
	return names, out.Offset
}

func (r *reader) request(handle, offset uint64, size int) *fuse.ReadIn {
	return &fuse.ReadIn{InHeader: fuse.InHeader{NodeId: fuse.FUSE_ROOT_ID}, Fh: handle, Offset: offset, Size: uint32(size)}
}

// holds checks that this process has the nodes that the kernel has, and no others.
func (r *reader) holds(when string) {
	r.t.Helper()
	if n := r.k.Nodes(); n != int64(len(r.held)) {
		r.t.Errorf("%s there are %d nodes, and the kernel has %d", when, n, len(r.held))
	}
}

// forgetsAll has the kernel forget all that it has. A count that is wrong panics in go-fuse, or
// leaves a node.
func (r *reader) forgetsAll() {
	r.t.Helper()
	for id, n := range r.held {
		r.raw.Forget(id, n)
	}
	clear(r.held)
	r.holds("after the kernel forgot everything")
}

// A listing has all names, once and in order, whatever the size of the buffer and whether the kernel
// asks for nodes.
func TestAListingIsWholeWithAnyBuffer(t *testing.T) {
	const names = 600
	r := reads(t, names, time.Hour)
	for size := 4000; size < 150_000; size += size / 40 {
		for _, plusses := range []int{0, 1, 2, names} { // requests with nodes, before those without
			h := r.open()
			var got []string
			for i, next := 0, uint64(0); ; i++ {
				ask := r.bare
				if i < plusses {
					ask = r.plus
				}
				some, after := ask(h, next, size)
				if after == next {
					break
				}
				got, next = append(got, some...), after
			}
			r.close(h)
			if !slices.Equal(got, r.dir.names) {
				t.Fatalf("with %d bytes, and nodes in the first %d replies, it has %d names: %q", size, plusses, len(got), got)
			}
			r.holds("after the listing")
		}
	}
	r.forgetsAll()
}

// The first reply brings few nodes, because the kernel asks for them before it knows whether the
// program looks at any. The second has as many as there is room for.
func TestTheFirstReplyBringsFewNodes(t *testing.T) {
	r := reads(t, 1000, time.Hour)
	h := r.open()
	defer r.close(h)
	first, next := r.plus(h, 0, 1<<20)
	if rest, _ := r.plus(h, next, 1<<20); len(first) < 150 || len(first) > 250 || len(first)+len(rest) != 1000 {
		t.Errorf("the replies have %d and %d names, want some 200 and all others", len(first), len(rest))
	}
}

// aheadSize is the size of a reply of at most 200 names.
const aheadSize = 32 << 10

// reachesAhead reads two replies of a listing. A third one is then made ahead.
func (r *reader) reachesAhead() (handle, next uint64) {
	r.t.Helper()
	h := r.open()
	_, next = r.plus(h, 0, aheadSize)
	_, next = r.plus(h, next, aheadSize)
	return h, next
}

// The third reply is made before it is asked for, and is the one that is then given. The nodes of it
// that the kernel never gets are forgotten.
func TestTheNextReplyIsMadeAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reads(t, 2000, time.Hour)
		h, next := r.reachesAhead()
		synctest.Wait()
		given, made := int64(len(r.held)), r.dir.made.Load()
		if n := r.k.Nodes(); n <= given || n > 2*given {
			t.Errorf("there are %d nodes ahead, want some, and at most one reply of them", n-given)
		}
		names, _ := r.plus(h, next, aheadSize)
		if want := r.dir.names[given : given+int64(len(names))]; len(names) < 100 || !slices.Equal(names, want) {
			t.Errorf("the reply has %d names: %q", len(names), names)
		}
		synctest.Wait()
		if n := r.dir.made.Load() - made; n > int64(len(names))+1 {
			t.Errorf("%d children are made for one reply of %d", n, len(names))
		}
		r.close(h)
		r.holds("after the listing is closed")
		r.forgetsAll()
	})
}

// A reply of names alone is made ahead too.
func TestTheNextNamesAreMadeAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reads(t, 2000, time.Hour)
		h := r.open()
		_, next := r.plus(h, 0, aheadSize)
		_, next = r.bare(h, next, aheadSize)
		synctest.Wait()
		if ahead := r.dir.made.Load() - int64(next); ahead < 400 {
			t.Errorf("%d names are made ahead, want those of a reply", ahead)
		}
		names, _ := r.bare(h, next, aheadSize)
		if len(names) < 400 || !slices.Equal(names, r.dir.names[next-2:int(next)-2+len(names)]) {
			t.Errorf("the reply has %d names: %q", len(names), names)
		}
		r.close(h)
		r.holds("after the listing is closed")
		r.forgetsAll()
	})
}

// A reply that was made ahead isn't used, and its nodes are forgotten, where the kernel asks for
// something else, where what it says may be old, and where the listing is closed.
func TestAReplyAheadIsDropped(t *testing.T) {
	for _, c := range []struct {
		when string
		do   func(r *reader, handle, next uint64)
	}{
		{"the listing is closed", func(r *reader, h, _ uint64) { r.close(h) }},
		{"it is rewound", func(r *reader, h, _ uint64) { r.plus(h, 0, aheadSize) }},
		{"the buffer is another", func(r *reader, h, next uint64) {
			r.plus(h, next, 4096)
			r.bare(h, next, aheadSize) // drops the next
		}},
		{"names are wanted without nodes", func(r *reader, h, next uint64) { r.bare(h, next, aheadSize) }},
		{"something changed", func(r *reader, _, _ uint64) { <-r.k.Outdate([]Stale{{Name: "name-1999"}}) }},
		{"a second has passed", func(r *reader, h, next uint64) {
			time.Sleep(aheadFresh)
			made := r.dir.made.Load()
			if names, _ := r.plus(h, next, aheadSize); r.dir.made.Load()-made < int64(len(names)) {
				r.t.Error("a reply of a second ago is used")
			}
			r.bare(h, next, aheadSize) // drops the next
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := reads(t, 2000, time.Hour)
			h, next := r.reachesAhead()
			synctest.Wait()
			if r.k.Nodes() == int64(len(r.held)) {
				t.Error("nothing is made ahead")
			}
			c.do(r, h, next)
			r.holds("after " + c.when)
			r.forgetsAll()
		})
	}
}

// A panic while a reply is made ahead is that of the request for it: the program gets EIO, and the
// nodes that were made are forgotten.
func TestAPanicAheadIsThatOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reads(t, 2000, time.Hour)
		r.dir.panics = "name-0500"
		h, next := r.reachesAhead()
		synctest.Wait()
		out := fuse.NewDirEntryList(make([]byte, aheadSize), next)
		if s := r.raw.ReadDirPlus(nil, r.request(h, next, aheadSize), out); s != fuse.EIO || len(out.Bytes()) > 0 {
			t.Errorf("%v, and %d bytes; want EIO", s, len(out.Bytes()))
		}
		if n := r.k.Panics(); n != 1 {
			t.Errorf("%d panics are counted, want 1", n)
		}
		r.holds("after the panic")
		r.close(h)
		r.forgetsAll()
	})
}

// Nothing is made ahead where the kernel mustn't keep the names, and where the listing is at its end.
func TestNoReplyIsMadeAheadInVain(t *testing.T) {
	for _, c := range []struct {
		what  string
		names int
		ttl   time.Duration
	}{
		{"names that may mean something else", 2000, 0},
		{"a listing of two replies", 250, time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := reads(t, c.names, c.ttl)
			h, _ := r.reachesAhead()
			synctest.Wait()
			r.holds(c.what + ": before the next request")
			r.close(h)
			r.forgetsAll()
		})
	}
}

// One listing at a time has a reply ahead. A listing whose program stopped reading gives its place
// up.
func TestOneListingHasAReplyAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := reads(t, 2000, time.Hour)
		first, firstNext := r.reachesAhead()
		synctest.Wait()
		nodes := r.k.Nodes()
		second, next := r.reachesAhead() // of the same names
		synctest.Wait()
		if n := r.k.Nodes(); n != nodes {
			t.Errorf("a second listing makes %d nodes ahead", n-nodes)
		}
		time.Sleep(aheadFresh)
		r.plus(second, next, aheadSize)
		synctest.Wait()
		if got := r.k.listings.reply.request.Fh; got != second {
			t.Errorf("after a second, listing %d has a reply ahead, want %d", got, second)
		}
		r.plus(first, firstNext, aheadSize)
		r.close(first)
		r.close(second)
		r.holds("after both are closed")
		r.forgetsAll()
	})
}

// go-fuse may still look at the bytes of a reply when the kernel, which has them, asks for more. So
// they stay what they are.
func TestAReplyStaysWhatItIs(t *testing.T) {
	r := reads(t, 3000, time.Hour)
	h, next := r.reachesAhead()
	var replies, copies [][]byte
	for range 4 {
		out := fuse.NewDirEntryList(make([]byte, firstReply), next)
		if s := r.raw.ReadDir(nil, r.request(h, next, firstReply), out); !s.Ok() {
			t.Fatal(s)
		}
		replies, copies = append(replies, out.Bytes()), append(copies, slices.Clone(out.Bytes()))
		next = out.Offset
	}
	r.close(h) // it waits for the reply that is being made
	for i := range replies {
		if !slices.Equal(replies[i], copies[i]) {
			t.Errorf("reply %d is another now", i)
		}
	}
}
