package upload

import (
	"context"
	"path"
	"path/filepath"
	"time"
)

// header is what all nodes have.
type header struct {
	id   uint64 // never changed
	root *Root  // never changed

	// Root.mu guards all below.
	parent   *Dir   // nil: the node has no name any more, or is upload/ itself; changed by the holder of Root.shape alone
	name     string // below parent; changed as parent is
	mode     uint32 // permissions
	uid, gid uint32
	mtime    time.Time // that was set, or of the making
}

func (r *Root) header(parent *Dir, name string, mode uint32) header {
	return header{
		id: r.ids.Add(1), root: r, parent: parent, name: name,
		mode: mode, uid: r.area.uid, gid: r.area.gid, mtime: r.area.now(),
	}
}

// ID tells this node from all others of the area.
func (h *header) ID() uint64 { return h.id }

// Below gives the path of the node below upload/, at this moment. A node that was removed has
// its last name.
func (h *header) Below() string {
	h.root.mu.Lock()
	defer h.root.mu.Unlock()
	return h.below()
}

// below is Below. Root.mu is held.
func (h *header) below() string {
	if h.parent == nil {
		return h.name
	}
	return path.Join(h.parent.header.below(), h.name)
}

func (h *header) attr(size int64) Attr {
	h.root.mu.Lock()
	defer h.root.mu.Unlock()
	return Attr{Mode: h.mode, UID: h.uid, GID: h.gid, Size: size, Mtime: h.mtime}
}

// set changes attributes. The area holds the repository from then on, as they are in memory
// alone.
func (h *header) set(c Change) {
	h.root.area.retain(h.root)
	h.root.mu.Lock()
	defer h.root.mu.Unlock()
	if c.Mode != nil {
		h.mode = *c.Mode & 0o7777
	}
	if c.UID != nil {
		h.uid = *c.UID
	}
	if c.GID != nil {
		h.gid = *c.GID
	}
	if c.Mtime != nil {
		h.mtime = *c.Mtime
	}
}

// path is where the node stands on the staging disk, for as long as the shape's turn is held.
// Root.mu is held.
func (h *header) path() string {
	if h.parent == nil {
		return h.root.path
	}
	return filepath.Join(h.parent.path(), h.name)
}

// Symlink is a symlink: one that came along with a copy, or what a blob that was
// written under a name of its own has become.
type Symlink struct {
	header
	target string // never changed
}

// Attr gives the attributes.
func (s *Symlink) Attr() Attr { return s.attr(int64(len(s.Target()))) }

// Set changes attributes.
func (s *Symlink) Set(_ context.Context, _ Program, c Change) error {
	s.set(c)
	return nil
}

// Target is where it points.
func (s *Symlink) Target() string { return s.target }
