package node

import (
	"context"
	"errors"
	"time"

	"github.com/ocifs/ocifs/fs/internal/caller"
)

// Changeable is an Entry whose attributes programs change. Only the user who mounts, and
// root, may change anything. Others may read by the permissions of the Entry.
type Changeable interface {
	Entry
	SetAttr(ctx context.Context, by caller.Caller, c Change) error
}

// Change is what is to change of the attributes of an Entry: nil is nothing.
type Change struct {
	Mode     *uint32 // permissions
	UID, GID *uint32
	Size     *int64 // in bytes, of files alone
	Mtime    *time.Time
}

// Writable is a directory that programs change. Its names come and go under their hands.
type Writable interface {
	Directory
	Changeable
	// Create makes a file that isn't there and opens it to write. flags are those of open(2),
	// mode the permissions.
	Create(ctx context.Context, by caller.Caller, name string, flags, mode uint32) (Child, WritableContent, error)
	Mkdir(ctx context.Context, name string, mode uint32) (Child, error)
	Symlink(ctx context.Context, name, target string) (Child, error)
	// Link gives a name to a file of the tree.
	Link(ctx context.Context, by caller.Caller, name string, to Entry) (Child, error)
	Unlink(ctx context.Context, name string) error
	Rmdir(ctx context.Context, name string) error
	// Rename moves a child to another directory of the tree. replace says that it may take the
	// place of another one.
	Rename(ctx context.Context, by caller.Caller, name string, to Directory, newName string, replace bool) error
}

// WritableFile is a file that programs write.
type WritableFile interface {
	File
	Changeable
	OpenToWrite(ctx context.Context, by caller.Caller) (WritableContent, error)
	// OpenEmptied opens the file to write, with no byte in it.
	OpenEmptied(ctx context.Context, by caller.Caller) (WritableContent, error)
}

// WritableContent is a file that is open to write.
type WritableContent interface {
	Content
	// WriteAt writes. It may have written some bytes where it gives an error besides.
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)
	// CopyFrom copies n bytes at most from a file, from its byte off on, to at, without reading
	// them. ErrCopyBytes: that can't be done.
	CopyFrom(ctx context.Context, from Entry, off, at, n int64) (int64, error)
	// Flush is close(2), of one of the descriptors that lead to the handle.
	Flush(ctx context.Context) error
	syncer
}

// syncer is a Content that fsync(2) does something for.
type syncer interface {
	Sync(ctx context.Context) error
}

// ErrCopyBytes is the error of a file whose bytes have to be read to be copied.
var ErrCopyBytes = errors.New("it has to be copied byte by byte")
