package node

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/fs/internal/caller"
)

// Entry is one thing in the tree. Its methods may be called concurrently.
type Entry interface {
	// Attr gives the attributes of this moment.
	Attr() Attr
	// Path gives the path below the mountpoint, for a person; "" is the root.
	Path() string
}

// Attr is the attributes of an Entry.
type Attr struct {
	Identity
	Mode     uint32 // file type and permissions
	Size     int64  // in bytes; of a directory 0
	Mtime    time.Time
	UID, GID uint32
	Nlink    uint32        // the number of hard links; 0 counts as 1
	Rdev     uint32        // the number of a device
	TTL      time.Duration // how long the kernel may keep the attributes; 0: not at all
}

// Directory is an Entry that has children.
type Directory interface {
	Entry
	// Lookup finds one child. A name that can't exist is ErrNotExist.
	Lookup(ctx context.Context, name string) (Child, error)
	// List gives all children, in byte order of their names.
	List(ctx context.Context) (Listing, error)
}

// File is an Entry with bytes.
type File interface {
	Entry
	// Open mustn't wait for the network longer than a manifest takes.
	Open(ctx context.Context, by caller.Caller) (Content, error)
}

// Symlink is an Entry that points elsewhere.
type Symlink interface {
	Entry
	Target() string
}

// Child is an Entry under its name.
type Child struct {
	Name string
	Entry
	TTL time.Duration // how long the name means the Entry; 0: the kernel asks each time
}

// Optional methods of an Entry.
type (
	// attributed is an Entry that has extended attributes.
	attributed interface{ Xattrs() map[string]string }
	// forgettable is an Entry that wants to know whether the kernel has its node. After
	// Forgotten a later lookup makes another node, unless one came at the same moment: that is
	// told by Remembered. Both may be told more than once.
	forgettable interface {
		Forgotten()
		Remembered()
	}
	// remover is a Directory whose children can be deleted at the registry. A child that
	// can't be is ErrReadOnly.
	remover interface {
		RemoveDir(ctx context.Context, name string) error
		RemoveFile(ctx context.Context, name string) error
	}
	// lookuper is a Directory whose lookups depend on the program that asks.
	lookuper interface {
		LookupFor(ctx context.Context, by caller.Caller, name string) (Child, error)
	}
)

// Errors that need no telling: the errno says all.
var (
	// ErrNotExist is the error of a name that can't exist, or doesn't, as is known without
	// asking.
	ErrNotExist = errors.New("no such name")
	// ErrReadOnly is the error of a change where nothing can be changed.
	ErrReadOnly = errors.New("nothing can be written here")
)

// Listing is the children of a directory at one moment. A child is made when somebody looks
// at it, so a directory of 100,000 names costs the names alone.
type Listing struct {
	Names []string // sorted
	Child func(name string) Child
	// Identity gives the identity of a child without making it, where all children are
	// directories. Nil: the children say.
	Identity func(name string) Identity
}

// List makes a listing of children at hand.
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

// dirent gives the inode number and the file type of a child.
func (l Listing) dirent(name string) (ino uint64, mode uint32) {
	if l.Identity != nil {
		return l.Identity(name).Ino, syscall.S_IFDIR
	}
	a := l.Child(name).Attr()
	return a.Ino, a.Mode & syscall.S_IFMT
}
