package node

import (
	"context"
	"errors"
	"time"

	"github.com/ocifs/ocifs/fs/internal/caller"
)

// Changeable is an Entry whose attributes programs change. Only the user who mounts, and root,
// may change anything. Others may read it if the permissions of the Entry allow that.
type Changeable interface {
	Entry
	SetAttr(ctx context.Context, by caller.Caller, c Change) error
}

// Change is a change of the attributes of an Entry. A nil field changes nothing.
type Change struct {
	Mode     *uint32 // permissions
	UID, GID *uint32
	Size     *int64 // in bytes; for files only
	Mtime    *time.Time
}

// Writable is a directory that programs change. Its names may change at any time.
type Writable interface {
	Directory
	Changeable
	// Create makes a new file and opens it for writing. flags are those of open(2), mode has
	// the permissions.
	Create(ctx context.Context, by caller.Caller, name string, flags, mode uint32) (Child, WritableContent, error)
	Mkdir(ctx context.Context, name string, mode uint32) (Child, error)
	Symlink(ctx context.Context, name, target string) (Child, error)
	// Link gives a name to a file of the tree.
	Link(ctx context.Context, by caller.Caller, name string, to Entry) (Child, error)
	Unlink(ctx context.Context, name string) error
	Rmdir(ctx context.Context, name string) error
	// Rename moves a child to another directory of the tree. With replace it may replace
	// another node.
	Rename(ctx context.Context, by caller.Caller, name string, to Directory, newName string, replace bool) error
}

// WritableFile is a file that programs can write.
type WritableFile interface {
	File
	Changeable
	OpenToWrite(ctx context.Context, by caller.Caller) (WritableContent, error)
	// OpenEmptied truncates the file to 0 bytes and opens it for writing.
	OpenEmptied(ctx context.Context, by caller.Caller) (WritableContent, error)
}

// WritableContent is a file that is open for writing.
type WritableContent interface {
	Content
	// WriteAt writes. After an error, some bytes may be written.
	WriteAt(ctx context.Context, p []byte, off int64) (int, error)
	// CopyFrom copies at most n bytes of a file, from its byte off on, to at, without reading
	// them. It fails with ErrCopyBytes if the bytes must be read.
	CopyFrom(ctx context.Context, from Entry, off, at, n int64) (int64, error)
	// Flush is close(2) of one of the descriptors of the handle.
	Flush(ctx context.Context) error
	syncer
}

// syncer is a Content for which fsync(2) does something.
type syncer interface {
	Sync(ctx context.Context) error
}

// ErrCopyBytes is the error for a file whose bytes must be read to be copied.
var ErrCopyBytes = errors.New("it has to be copied byte by byte")
