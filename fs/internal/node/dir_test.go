package node

import (
	"context"
	"syscall"
	"testing"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/ocifs/ocifs/fs/internal/caller"
)

// countedDir is a directory of one name that counts how often it is listed.
type countedDir struct {
	anyDir
	listed int
}

func (d *countedDir) List(ctx context.Context) (Listing, error) {
	d.listed++
	c, err := d.Lookup(ctx, "name")
	return List([]Child{c}), err
}

// neverChanging is a countedDir that never changes.
type neverChanging struct{ countedDir }

func (*neverChanging) Immutable() {}

// opens opens the root, and gives its handle and what the kernel is told of it.
func opens(t *testing.T, n *gofs.Inode) (*dirHandle, uint32) {
	t.Helper()
	h, flags, errno := n.Operations().(gofs.NodeOpendirHandler).OpendirHandle(context.Background(), 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	return h.(*dirHandle), flags
}

// The kernel keeps the listing of a directory that never changes, and uses what it kept while it
// holds the nodes. Then nothing is listed unless it asks for names. Any other directory is listed
// each time.
func TestAnImmutableListingIsKept(t *testing.T) {
	const fills, keeps = fuse.FOPEN_CACHE_DIR, fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE
	for _, c := range []struct {
		what  string
		never bool      // the directory never changes
		shown bool      // the kernel has looked at its name
		flags [2]uint32 // of the first handle, and of the second
		lists int       // after both
	}{
		{"a directory that changes", false, true, [2]uint32{0, 0}, 2},
		{"one that doesn't, all of which the kernel holds", true, true, [2]uint32{fills, keeps}, 1},
		{"one that doesn't, nothing of which the kernel holds", true, false, [2]uint32{fills, fills}, 2},
	} {
		d := &neverChanging{}
		var dir Directory = d
		if !c.never {
			dir = &d.countedDir
		}
		_, root := New(Options{MaxNodes: 1000}).Bridge(dir)
		var h *dirHandle
		var out fuse.EntryOut
		for i, want := range c.flags {
			var flags uint32
			if h, flags = opens(t, root); flags != want {
				t.Errorf("%s: handle %d has flags %#x, want %#x", c.what, i+1, flags, want)
			}
			if i == 0 && c.shown {
				if _, errno := h.Lookup(context.Background(), "name", &out); errno != 0 {
					t.Fatal(errno)
				}
			}
		}
		if d.listed != c.lists {
			t.Errorf("%s: it was listed %d times, want %d", c.what, d.listed, c.lists)
		}
		h.Seekdir(context.Background(), 2)
		e, errno := h.Readdirent(context.Background())
		if errno != 0 || e == nil || e.Name != "name" {
			t.Fatalf("%s: the listing has %v, %v", c.what, e, errno)
		}
		if _, errno := h.Lookup(context.Background(), "name", &out); errno != 0 || out.Ino != e.Ino {
			t.Errorf("%s: the name is looked up as %d, %v, and listed as %d", c.what, out.Ino, errno, e.Ino)
		}
	}
}

// readyContent is a File that is ready, or not.
type readyContent struct {
	ready  bool
	opened int // calls of Open
}

func (*readyContent) Path() string { return "file" }

func (*readyContent) Attr() Attr {
	return Attr{Identity: IdentityOf("file", ""), Mode: syscall.S_IFREG | 0o444, TTL: time.Hour}
}

func (f *readyContent) Open(context.Context, caller.Caller) (Content, error) {
	f.opened++
	return Bytes("slow"), nil
}

func (f *readyContent) OpenReady() Content {
	if !f.ready {
		return nil
	}
	return Bytes("fast")
}

// A file that is ready is opened without a wait, and any other as always.
func TestAReadyFileIsOpenedAtOnce(t *testing.T) {
	for _, ready := range []bool{true, false} {
		f := &readyContent{ready: ready}
		n := New(Options{}).newNode(f).(*fileNode)
		h, _, errno := n.Open(context.Background(), syscall.O_RDONLY)
		if errno != 0 {
			t.Fatal(errno)
		}
		b := make([]byte, 4)
		if _, errno := h.(gofs.FileReader).Read(context.Background(), b, 0); errno != 0 {
			t.Fatal(errno)
		}
		if fast := string(b) == "fast"; fast != ready || (f.opened == 0) != ready {
			t.Errorf("ready %v: it has %q after %d calls of Open", ready, b, f.opened)
		}
		h.(gofs.FileReleaser).Release(context.Background())
	}
}
