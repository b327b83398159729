package fs

import (
	"context"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
)

// tagDir is the directory of a tag. It is bound to one digest for good: at once where the tag
// was asked for, else by the first look into it. Its identity is of that digest, or, where a
// listing made it before anybody knew the digest, of a number that no other directory of the
// tag has.
type tagDir struct {
	place
	lazy
	repo   known.Repository
	tag    string
	id     digest.Digest // tells this directory from others of the tag
	digest digest.Digest // what it is, or will be, bound to; "": not known yet

	mu    sync.Mutex // guards image; before tagDirs.mu in the lock order
	image *image     // nil until bound
}

func (t *tagDir) Attr() node.Attr { return t.dirAttr(t.id) }

// identity is that of Attr.
func (t *tagDir) identity() node.Identity { return t.place.identity(t.id) }

// isBoundTo says whether the directory shows a digest.
func (t *tagDir) isBoundTo(d digest.Digest) bool {
	img := t.bound()
	return img != nil && img.Descriptor.Digest == d
}

// bound gives what the directory is bound to, or nil.
func (t *tagDir) bound() *image {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.image
}

// bind binds the directory, once, and gives what it is bound to.
func (t *tagDir) bind(m *registry.Manifest) *image {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.image == nil {
		t.image = newImage(t.place, t.up(2), t.repo, m, t.id, t.tag)
		if t.digest == "" {
			t.tree.tagDirs.add(t)
		}
	}
	return t.image
}

// resolve gives what the directory is bound to, and binds it where it isn't yet: to the digest
// that it is known to be of, else to what the tag points at now.
func (t *tagDir) resolve(ctx context.Context) (view, error) {
	if img := t.bound(); img != nil {
		return img, nil
	}
	if t.digest != "" {
		m, err := t.repo.ShownManifest(ctx, t.digest)
		if err != nil {
			return nil, err
		}
		return t.bind(m), nil
	}
	now, err := t.repo.Tag(ctx, t.tag)
	if err != nil {
		return nil, err
	}
	return t.bind(now.Manifest), nil
}

// Forgotten is told that the kernel has forgotten the directory.
func (t *tagDir) Forgotten() {
	if t.digest == "" {
		t.tree.tagDirs.remove(t)
	}
}

// Remembered is told that the kernel has the directory after all.
func (t *tagDir) Remembered() {
	if t.digest == "" && t.bound() != nil {
		t.tree.tagDirs.add(t)
	}
}

func (t *tagDir) Xattrs() map[string]string {
	img := t.bound()
	if img == nil {
		return nil
	}
	return img.Xattrs()
}

// firstListed tells the first directory that a listing made of a tag from those that came
// later. It is the same at each mount.
const firstListed = digest.Digest("listed")

// tagDirs is the directories that listings made of tags, and that were bound since, for as
// long as the kernel has them. Those that nobody looked into are all the same, and aren't
// kept. It is safe for concurrent use.
type tagDirs struct {
	mu     sync.Mutex // guards all below
	byPath map[string]*listedTag
	count  int // of all that were ever bound: no identity comes twice
}

// listedTag is what has become of the directories that listings made of one tag. tagDirs.mu
// guards it.
type listedTag struct {
	kept map[*tagDir]bool // bound directories that the kernel has; never empty
	last *tagDir          // the last that was bound; nil: the kernel has forgotten it
	next digest.Digest    // tells the next one from those in kept
}

// last gives the directory at a path that was bound last, or nil, and what tells the next one
// from those that the kernel has.
func (ts *tagDirs) last(path string) (bound *tagDir, next digest.Digest) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if l := ts.byPath[path]; l != nil {
		return l.last, l.next
	}
	return nil, firstListed
}

// add notes that a directory that a listing made is bound, and that the kernel has it.
func (ts *tagDirs) add(t *tagDir) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	l := ts.byPath[t.path]
	if l == nil {
		l = &listedTag{kept: map[*tagDir]bool{}}
		if ts.byPath == nil {
			ts.byPath = map[string]*listedTag{}
		}
		ts.byPath[t.path] = l
	}
	if l.kept[t] {
		return
	}
	ts.count++
	l.kept[t], l.last, l.next = true, t, digest.Digest(fmt.Sprint("listed ", ts.count))
}

// remove notes that the kernel has forgotten a directory that was bound.
func (ts *tagDirs) remove(t *tagDir) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	l := ts.byPath[t.path]
	if l == nil || !l.kept[t] {
		return
	}
	delete(l.kept, t)
	if l.last == t {
		l.last = nil
	}
	if len(l.kept) == 0 {
		delete(ts.byPath, t.path)
	}
}
