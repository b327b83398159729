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

// The kernel keeps the listing of a directory that never changes. Such a directory is listed once,
// and once more only if the kernel asks for names. Any other is listed each time.
func TestAnImmutableListingIsKept(t *testing.T) {
	changes, never := &countedDir{}, &neverChanging{}
	for _, c := range []struct {
		dir    Directory
		count  *int
		flags  uint32
		second int // listings after the second opendir
	}{
		{changes, &changes.listed, 0, 2},
		{never, &never.listed, fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, 1},
	} {
		k := New(Options{MaxNodes: 1000})
		_, root := k.Bridge(c.dir)
		for range 2 {
			h, flags := opens(t, root)
			defer h.Releasedir(context.Background(), 0)
			if flags != c.flags {
				t.Errorf("%T is opened with flags %#x, want %#x", c.dir, flags, c.flags)
			}
		}
		if *c.count != c.second {
			t.Errorf("%T was listed %d times, want %d", c.dir, *c.count, c.second)
		}
		h, _ := opens(t, root)
		if got := k.pruner.names.Load(); got != 3 {
			t.Errorf("%d names are in three open listings of one each", got)
		}
		if errno := h.Seekdir(context.Background(), 2); errno != 0 {
			t.Fatal(errno)
		}
		e, errno := h.Readdirent(context.Background())
		if errno != 0 || e == nil || e.Name != "name" {
			t.Fatalf("the listing has %v, %v", e, errno)
		}
		var out fuse.EntryOut
		if _, errno := h.Lookup(context.Background(), "name", &out); errno != 0 || out.Ino != e.Ino {
			t.Errorf("the name is looked up as %d, %v, and listed as %d", out.Ino, errno, e.Ino)
		}
		h.Releasedir(context.Background(), 0)
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
