package fs

import (
	"context"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
)

// place says where an entry stands. path is below the mountpoint; "" is the root.
type place struct {
	tree *Tree
	path string
}

// Path gives the path below the mountpoint.
func (p place) Path() string { return p.path }

func (p place) at(name string) place { return place{p.tree, node.Join(p.path, name)} }

// full gives the path that this place has in a mount of all registries.
func (p place) full() string { return node.Join(p.tree.prefix, p.path) }

// up gives the place n levels above.
func (p place) up(n int) place {
	for range n {
		p.path = path.Dir(p.path)
	}
	if p.path == "." {
		p.path = ""
	}
	return p
}

// to gives the relative path from this directory to another place, for a symlink.
func (p place) to(target place) string {
	rel, err := filepath.Rel("/"+p.path, "/"+target.path)
	if err != nil { // both are absolute
		panic(err)
	}
	return rel
}

// identity gives the identity of an entry here. d is the digest of its content, or "" if the
// content doesn't distinguish it from another entry.
func (p place) identity(d digest.Digest) node.Identity {
	return node.IdentityOf(p.full(), string(d))
}

// childIdentity gives the identity of an entry of this directory. It is that of at(name), of which
// it makes no place.
func (p place) childIdentity(name string, d digest.Digest) node.Identity {
	return node.IdentityIn(p.full(), name, string(d))
}

// forever is how long the kernel keeps what can't change. It is only an hour, so that unused
// entries are forgotten at some time.
const forever = time.Hour

func (p place) attr(d digest.Digest, mode uint32, size int64, mtime time.Time) node.Attr {
	return p.tree.attr(p.identity(d), mode, size, mtime)
}

// attr gives the attributes of an entry that never change.
func (t *Tree) attr(id node.Identity, mode uint32, size int64, mtime time.Time) node.Attr {
	return node.Attr{Identity: id, Mode: mode, Size: size, Mtime: mtime, UID: t.uid, GID: t.gid, TTL: forever}
}

// dirAttr gives the attributes of a directory here with the content d.
func (p place) dirAttr(d digest.Digest) node.Attr {
	return p.attr(d, dirMode, 0, epoch)
}

// childAttr gives the attributes of a directory with the content d in this one.
func (p place) childAttr(name string, d digest.Digest) node.Attr {
	return p.tree.attr(p.childIdentity(name, d), dirMode, 0, epoch)
}

// dirMode is the mode of a directory that nobody writes to.
const dirMode = syscall.S_IFDIR | 0o555

// listAttr gives the attributes of a directory here that shows a list.
func (p place) listAttr(list known.ListName) node.Attr {
	a := p.dirAttr("")
	changed, ttl := p.tree.known.ListTime(list)
	a.Mtime, a.TTL = changed, min(ttl, forever)
	return a
}

// fileAttr gives the attributes of a file here with the content d.
func (p place) fileAttr(d digest.Digest, size int64, mtime time.Time) node.Attr {
	return p.attr(d, syscall.S_IFREG|0o444, size, mtime)
}

// namesList gives the name of the list of names in a directory here.
func (p place) namesList() known.ListName { return known.NamesIn(p.full()) }

// link is a symlink inside the tree. Its target is relative to its directory.
type link struct {
	place
	to    string
	mtime time.Time
}

func (l *link) Target() string { return l.to }

func (l *link) Attr() node.Attr {
	return l.attr(digest.Digest(l.to), syscall.S_IFLNK|0o777, int64(len(l.to)), l.mtime)
}

// small is a file of a few bytes that don't change.
type small struct {
	place
	bytes  []byte
	digest digest.Digest // of the content that the bytes describe
	mtime  time.Time
}

func (f *small) Attr() node.Attr { return f.fileAttr(f.digest, int64(len(f.bytes)), f.mtime) }

func (f *small) Open(context.Context, caller.Caller) (node.Content, error) {
	return node.Bytes(f.bytes), nil
}
