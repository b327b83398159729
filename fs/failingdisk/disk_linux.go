package failingdisk

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/opencontainers/go-digest"
)

// Disk is a mounted file system that fails when it is told to. Files that are created in it are
// to be opened again by name to meet that.
type Disk struct {
	Dir string // where it is mounted

	unread atomic.Pointer[string] // the name of the files whose reads fail; nil: none
	moves  atomic.Bool            // renames and removals fail
}

// Mount mounts a disk for the time of a test. That needs root.
func Mount(t testing.TB) *Disk {
	t.Helper()
	d := &Disk{Dir: t.TempDir()}
	root := &diskNode{&gofs.LoopbackNode{RootData: &gofs.LoopbackRoot{Path: t.TempDir()}}, d}
	server, err := gofs.Mount(d.Dir, root, &gofs.Options{MountOptions: fuse.MountOptions{DirectMount: true}})
	if err != nil {
		t.Fatalf("mount a disk (this needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// FailReads has reads of the file of a blob fail with EIO.
func (d *Disk) FailReads(of digest.Digest) {
	name := of.Encoded()
	d.unread.Store(&name)
}

// FailMoves has renames and removals fail with EIO.
func (d *Disk) FailMoves() { d.moves.Store(true) }

// Mend has nothing fail any more.
func (d *Disk) Mend() {
	d.unread.Store(nil)
	d.moves.Store(false)
}

type diskNode struct {
	*gofs.LoopbackNode
	disk *Disk
}

func (n *diskNode) WrapChild(_ context.Context, child gofs.InodeEmbedder) gofs.InodeEmbedder {
	return &diskNode{child.(*gofs.LoopbackNode), n.disk}
}

func (n *diskNode) Open(ctx context.Context, flags uint32) (gofs.FileHandle, uint32, syscall.Errno) {
	f, _, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &diskFile{f.(*gofs.LoopbackFile), n}, fuse.FOPEN_DIRECT_IO, 0
}

func (n *diskNode) Unlink(ctx context.Context, name string) syscall.Errno {
	if n.disk.moves.Load() {
		return syscall.EIO
	}
	return n.LoopbackNode.Unlink(ctx, name)
}

func (n *diskNode) Rename(ctx context.Context, name string, to gofs.InodeEmbedder, toName string, flags uint32) syscall.Errno {
	if n.disk.moves.Load() {
		return syscall.EIO
	}
	return n.LoopbackNode.Rename(ctx, name, to, toName, flags)
}

type diskFile struct {
	*gofs.LoopbackFile
	node *diskNode
}

func (f *diskFile) PassthroughFd() (int, bool) { return 0, false }

func (f *diskFile) Read(ctx context.Context, b []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	name, _ := f.node.Parent()
	if bad := f.node.disk.unread.Load(); bad != nil && *bad == name {
		return nil, syscall.EIO
	}
	return f.LoopbackFile.Read(ctx, b, off)
}
