package fs

import (
	"context"
	"path"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
)

// place is where an entry stands: its tree, and its path below the mountpoint
// ("" for the root).
type place struct {
	tree *Tree
	path string
}

func (p place) at(name string) place { return place{p.tree, join(p.path, name)} }

// join joins paths of the tree, either of which may be "". Their components are names that
// lookup and list admit, so there is nothing to clean, which path.Join spends its time on.
func join(dir, name string) string {
	switch {
	case dir == "":
		return name
	case name == "":
		return dir
	}
	return dir + "/" + name
}

// full is the path from the registry down, whatever part of the tree is mounted.
func (p place) full() string { return join(p.tree.prefix, p.path) }

// up is the place n levels above.
func (p place) up(n int) place {
	for range n {
		p.path = path.Dir(p.path)
	}
	if p.path == "." {
		p.path = ""
	}
	return p
}

// to is the way from this directory to another place, for a symlink.
func (p place) to(target place) string {
	rel, err := filepath.Rel("/"+p.path, "/"+target.path)
	if err != nil { // both are absolute
		panic(err)
	}
	return rel
}

// stat is what the attributes of an entry are made of.
type stat struct {
	identity
	mode  uint32 // file type and permissions
	size  int64
	mtime time.Time
	ttl   time.Duration // how long the kernel may keep the attributes
}

// entry is one thing in the tree: a directory, a file or a symlink. Entries
// know nothing of the kernel; node.go shows them to it.
type entry interface {
	stat() stat
	where() place
}

func (p place) where() place { return p }

// directory is an entry that has children.
type directory interface {
	entry
	// lookup finds one child. What can't exist is errNotExist.
	lookup(ctx context.Context, name string) (child, error)
	// list gives all children, in byte order of their names.
	list(ctx context.Context) (listing, error)
}

// file is an entry with bytes.
type file interface {
	entry
	// open must not wait for the network longer than a manifest takes.
	open(ctx context.Context) (content, error)
}

// symlink is an entry that points elsewhere in the tree.
type symlink interface {
	entry
	target() string
}

// attributed is an entry that has extended attributes.
type attributed interface {
	xattrs() map[string]string
}

// child is an entry under its name, and for how long that name means it.
type child struct {
	name string
	entry
	ttl time.Duration
}

// listing is the children of a directory at one moment. Children are made one
// at a time and when they are looked at: a directory of 100,000 names costs the
// names alone.
type listing struct {
	names []string
	child func(name string) child
	// identity gives the identity of a child that is a directory, without making it.
	// Nil: the children say.
	identity func(name string) identity
}

// listNames lists names, sorted, each of which find finds.
func listNames(names []string, find func(name string) (child, error)) listing {
	return listing{names: names, child: func(name string) child {
		c, err := find(name)
		if err != nil { // can't be: it is one of the names
			panic(err)
		}
		return c
	}}
}

// dirent gives the inode number and the file type of a child.
func (l listing) dirent(name string) (ino uint64, mode uint32) {
	if l.identity != nil {
		return l.identity(name).ino, syscall.S_IFDIR
	}
	st := l.child(name).stat()
	return st.ino, st.mode & syscall.S_IFMT
}

// forever is how long the kernel keeps what can't change. It is an hour, so
// that what nobody uses is forgotten in the end.
const forever = time.Hour

// fixed is a directory whose children are known when it is made.
type fixed struct {
	place
	version  digest.Digest // of what it shows; "" where it never shows anything else
	children []child
}

func (d *fixed) stat() stat { return d.dirStat(d.version) }

func (d *fixed) lookup(_ context.Context, name string) (child, error) {
	for _, c := range d.children {
		if c.name == name {
			return c, nil
		}
	}
	return child{}, errNotExist
}

func (d *fixed) list(context.Context) (listing, error) { return listChildren(d.children), nil }

// listChildren makes a listing of children at hand.
func listChildren(cs []child) listing {
	byName := make(map[string]child, len(cs))
	names := make([]string, 0, len(cs))
	for _, c := range cs {
		byName[c.name] = c
		names = append(names, c.name)
	}
	slices.Sort(names)
	return listing{names: names, child: func(name string) child { return byName[name] }}
}

// link is a symlink inside the tree. Its target is relative to the directory
// that it stands in.
type link struct {
	place
	to    string
	mtime time.Time
}

func (l *link) target() string { return l.to }

func (l *link) stat() stat {
	return stat{identity: l.identity(digest.Digest(l.to)), mode: syscall.S_IFLNK | 0o777, size: int64(len(l.to)), mtime: l.mtime, ttl: forever}
}

// dirStat is the stat of a directory here with the content d.
func (p place) dirStat(d digest.Digest) stat {
	return stat{identity: p.identity(d), mode: syscall.S_IFDIR | 0o555, mtime: epoch, ttl: forever}
}

// fileStat is the stat of a file here with the content d.
func (p place) fileStat(d digest.Digest, size int64, mtime time.Time) stat {
	return stat{identity: p.identity(d), mode: syscall.S_IFREG | 0o444, size: size, mtime: mtime, ttl: forever}
}
