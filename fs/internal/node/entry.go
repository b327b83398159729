package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ocifs/ocifs/fs/internal/caller"
)

// Entry is a directory, a file or a symlink in the tree. Its methods may be called concurrently.
type Entry interface {
	// Attr gives the present attributes.
	Attr() Attr
	// Path gives the path below the mountpoint, for a person; "" is the root.
	Path() string
}

// Attr has the attributes of an Entry.
type Attr struct {
	Identity
	Mode     uint32 // file type and permissions
	Size     int64  // in bytes; 0 for a directory
	Mtime    time.Time
	UID, GID uint32
	Nlink    uint32        // the number of hard links; 0 means 1
	Rdev     uint32        // the number of a device
	TTL      time.Duration // how long the kernel may keep the attributes; 0: not at all
}

// Directory is an Entry that has children.
type Directory interface {
	Entry
	// Lookup finds one child. It fails with ErrNotExist for a name that can't exist.
	Lookup(ctx context.Context, name string) (Child, error)
	// List gives all children, in byte order of their names.
	List(ctx context.Context) (Listing, error)
}

// File is an Entry with bytes.
type File interface {
	Entry
	// Open mustn't wait for the network longer than the download of a manifest takes.
	Open(ctx context.Context, by caller.Caller) (Content, error)
}

// Symlink is an Entry that points elsewhere.
type Symlink interface {
	Entry
	Target() string
}

// Child is an Entry and its name.
type Child struct {
	Name string
	Entry
	TTL time.Duration // how long the name means the Entry; 0: the kernel asks each time
}

// Optional methods of an Entry.
type (
	// attributed is an Entry that has extended attributes.
	attributed interface{ Xattrs() map[string]string }
	// forgettable is an Entry that must know whether the kernel has its node. After
	// Forgotten, a later lookup makes another node. If a lookup came at the same moment, it
	// gets the old node, and Remembered is called. Both may be called more than once.
	forgettable interface {
		Forgotten()
		Remembered()
	}
	// breakable is a Symlink that may have no target that can be shown. Broken says why; nil: it
	// has one.
	breakable interface{ Broken() error }
	// remover is a Directory whose children can be deleted at the registry. For a child that
	// can't be deleted, it fails with ErrReadOnly.
	remover interface {
		RemoveDir(ctx context.Context, name string) error
		RemoveFile(ctx context.Context, name string) error
	}
	// lookuper is a Directory whose lookups depend on the program that makes them.
	lookuper interface {
		LookupFor(ctx context.Context, by caller.Caller, name string) (Child, error)
	}
	// immutable is a Directory whose names, and what they mean, never change. The kernel keeps
	// its listing.
	immutable interface{ Immutable() }
	// light is an Entry that takes less than 200 bytes; see lightsPerNode.
	light interface{ Light() }
	// readyFile is a File that can often be opened without any wait. OpenReady gives nil if it
	// can't, and Open is called.
	readyFile interface{ OpenReady() Content }
	// patient is a Directory whose answers may need downloads, which the caller pays for. No
	// time limit ends them, as long as something comes: they end with ctx, or by themselves.
	// Its Attr gives what is known without a download, with a TTL of 0 if that may be wrong.
	patient interface {
		lookuper
		ListFor(ctx context.Context, by caller.Caller) (Listing, error)
		AttrFor(ctx context.Context, by caller.Caller) (Attr, error)
	}
)

// Special is an Entry that the kernel opens by itself, if at all: a device, a pipe or a socket.
type Special interface {
	Entry
	Special()
}

// Errors that aren't reported, because the errno says everything.
var (
	// ErrNotExist is the error of a name that doesn't exist, as is known without a request.
	ErrNotExist = errors.New("no such name")
	// ErrReadOnly is the error of a change to something that nobody can change.
	ErrReadOnly = errors.New("nothing can be written here")
)

// Listing has the children of a directory at one moment. A child is made when somebody looks at
// it, so that a directory of 100,000 names costs only the names.
type Listing struct {
	Names []string // sorted
	Child func(name string) Child
	// Identity gives the identity of a child without making it, if all children are
	// directories. Nil: the children give their identities.
	Identity func(name string) Identity
}

// List makes a listing of children in memory.
func List(cs []Child) Listing {
	byName := make(map[string]Child, len(cs))
	names := make([]string, 0, len(cs))
	for _, c := range cs {
		byName[c.Name] = c
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return Listing{Names: names, Child: func(name string) Child { return byName[name] }}
}
