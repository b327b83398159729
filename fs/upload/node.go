package upload

import (
	"context"
	"path"
	"path/filepath"
	"time"
)

// header is the common part of all nodes.
type header struct {
	id   uint64 // never changed
	root *Root  // never changed

	// Root.mu guards the fields below.
	// parent is nil if the node has no name any more, or is upload/ itself. Only the holder
	// of Root.shape changes it.
	parent   *Dir
	name     string // below parent; only the holder of Root.shape changes it
	mode     uint32 // permissions
	uid, gid uint32
	mtime    time.Time // the time that was set, or when the node was made
}

func (r *Root) header(parent *Dir, name string, mode uint32) header {
	return header{
		id: r.ids.Add(1), root: r, parent: parent, name: name,
		mode: mode, uid: r.area.uid, gid: r.area.gid, mtime: r.area.now(),
	}
}

// ID is different for each node of the repository.
func (h *header) ID() uint64 { return h.id }

// Below gives the present path of the node below upload/. For a removed node, it gives the last
// name.
func (h *header) Below() string {
	h.root.mu.Lock()
	defer h.root.mu.Unlock()
	return h.below()
}

// below is Below for callers that hold Root.mu.
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

// set changes attributes. They are only in memory, so the area holds the repository from then on.
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

// path is the node's path on the staging disk. It is valid as long as the shape turn is held.
// Root.mu is held.
func (h *header) path() string {
	if h.parent == nil {
		return h.root.path
	}
	return filepath.Join(h.parent.path(), h.name)
}

// Symlink is a symlink: one that a program made, or one that is shown in place of a pushed blob
// with a name of its own.
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

// Target gives the path that the symlink contains.
func (s *Symlink) Target() string { return s.target }
