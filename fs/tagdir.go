package fs

import (
	"context"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
)

// tagDir is the directory of a tag. It is bound to one digest and never changes that. A lookup of
// the tag binds it at once; otherwise the first look into it does. Its identity comes from that
// digest. If a listing made it before the digest was known, the identity comes from a number that
// no other directory of the tag has.
//
// It needs little memory, because the kernel holds one for each name of an open listing of tags: what
// follows from the directory of the tags isn't kept again.
type tagDir struct {
	in  *tagsDir // the directory of the repository's tags
	tag string
	// id is different for each directory of the tag. It is the digest to which the directory is, or
	// will be, bound, unless the directory is listed.
	id     digest.Digest
	listed bool // a listing made it before the digest was known

	// mu guards image. It comes before tagDirs.mu in the lock order.
	mu    sync.Mutex
	image *image // nil until bound
}

func (t *tagDir) place() place { return t.in.at(t.tag) }

// Path gives the path below the mountpoint.
func (t *tagDir) Path() string { return t.place().path }

func (t *tagDir) Attr() node.Attr { return t.in.childAttr(t.tag, t.id) }

func (t *tagDir) entries() lazy { return lazy{isImageEntry, t.resolve} }

func (t *tagDir) Lookup(ctx context.Context, name string) (node.Child, error) {
	return t.entries().Lookup(ctx, name)
}

func (t *tagDir) List(ctx context.Context) (node.Listing, error) { return t.entries().List(ctx) }

// isBoundTo says whether the directory is bound to a digest.
func (t *tagDir) isBoundTo(d digest.Digest) bool {
	img := t.bound()
	return img != nil && img.Descriptor.Digest == d
}

// bound gives the image to which the directory is bound; nil: none.
func (t *tagDir) bound() *image {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.image
}

// bind binds the directory to m, unless it is bound already. It gives the bound image.
func (t *tagDir) bind(m *registry.Manifest) *image {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.image == nil {
		t.image = newImage(t.place(), t.in.up(1), t.in.repo, m, t.id, t.tag)
		if t.listed {
			t.in.tree.tagDirs.add(t)
		}
	}
	return t.image
}

// resolve gives the image to which the directory is bound. If there is none yet, it binds the
// directory: to its digest if that is known, else to the present digest of the tag.
func (t *tagDir) resolve(ctx context.Context) (view, error) {
	if img := t.bound(); img != nil {
		return img, nil
	}
	if !t.listed {
		m, err := t.in.repo.ShownManifest(ctx, t.id)
		if err != nil {
			return nil, err
		}
		return t.bind(m), nil
	}
	now, err := t.in.repo.Tag(ctx, t.tag)
	if err != nil {
		return nil, err
	}
	return t.bind(now.Manifest), nil
}

// Forgotten is called when the kernel has forgotten the directory.
func (t *tagDir) Forgotten() {
	if t.listed {
		t.in.tree.tagDirs.remove(t)
	}
}

// Remembered is called when the kernel has the directory after all.
func (t *tagDir) Remembered() {
	if t.listed && t.bound() != nil {
		t.in.tree.tagDirs.add(t)
	}
}

func (t *tagDir) Xattrs() map[string]string {
	img := t.bound()
	if img == nil {
		return nil
	}
	return img.Xattrs()
}

// firstListed is the id of the first directory that a listing makes of a tag. It is the same in
// each mount.
const firstListed = digest.Digest("listed")

// tagDirs are the directories of tags that listings made and that were bound later. They are kept
// as long as the kernel has them. Directories that nobody looked into aren't kept, because they
// are all the same. It is safe for concurrent use.
type tagDirs struct {
	mu    sync.Mutex // guards the fields below
	byTag map[tagPlace]*listedTag
	// count counts all directories that were ever bound, so that no identity comes twice.
	count int
}

// tagPlace says where a tag stands, without a string to be made of it.
type tagPlace struct {
	dir string // the path of the directory of the tags, below the mountpoint
	tag string
}

func (t *tagDir) tagPlace() tagPlace { return tagPlace{t.in.path, t.tag} }

// listedTag has the directories that listings made of one tag. tagDirs.mu guards it.
type listedTag struct {
	kept map[*tagDir]bool // bound directories that the kernel has; never empty
	// last is the directory that was bound last; nil: the kernel has forgotten it.
	last *tagDir
	next digest.Digest // the id for the next directory, different from those in kept
}

// last gives the directory of a tag that was bound last, or nil. next is the id for the next
// directory of that tag.
func (ts *tagDirs) last(at tagPlace) (bound *tagDir, next digest.Digest) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if l := ts.byTag[at]; l != nil {
		return l.last, l.next
	}
	return nil, firstListed
}

// add notes that a directory made by a listing is bound, and that the kernel has it.
func (ts *tagDirs) add(t *tagDir) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	l := ts.byTag[t.tagPlace()]
	if l == nil {
		l = &listedTag{kept: map[*tagDir]bool{}}
		if ts.byTag == nil {
			ts.byTag = map[tagPlace]*listedTag{}
		}
		ts.byTag[t.tagPlace()] = l
	}
	if l.kept[t] {
		return
	}
	ts.count++
	l.kept[t], l.last, l.next = true, t, digest.Digest(fmt.Sprint("listed ", ts.count))
}

// remove notes that the kernel has forgotten a bound directory.
func (ts *tagDirs) remove(t *tagDir) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	l := ts.byTag[t.tagPlace()]
	if l == nil || !l.kept[t] {
		return
	}
	delete(l.kept, t)
	if l.last == t {
		l.last = nil
	}
	if len(l.kept) == 0 {
		delete(ts.byTag, t.tagPlace())
	}
}
