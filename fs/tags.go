package fs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// tagsDir is tags/: an image directory for each tag.
type tagsDir struct {
	place
	repo *repository
}

func (d *tagsDir) stat() stat { return d.listStat("", d.repo.tagsList()) }

// lookup asks for a tag of which nothing is known. A tag that a listing named is a directory
// without a request, and bound by the first look into it. A name that a whole listing lacks
// isn't there while the listing is believed, unless the tag was seen since.
func (d *tagsDir) lookup(ctx context.Context, name string) (child, error) {
	if !ref.ValidTag(name) {
		return child{}, errNotExist
	}
	if err := d.repo.awaitTag(ctx, name); err != nil {
		return child{}, err
	}
	l := d.repo.knownTags()
	_, remembered := d.repo.recall(ctx, name)
	_, _, fresh := d.repo.fresh(name)
	switch {
	case l.has(name) && !remembered:
		return d.listed(l, name), nil
	case l.lacks(name) && !fresh && probed[name]:
		return child{}, errNotExist
	case l.lacks(name) && !fresh:
		return child{}, fmt.Errorf("%w of %s ago: %s:%s", errUnlisted, time.Since(l.told).Round(time.Second), d.repo, name)
	}
	res, err := d.repo.tag(ctx, name)
	if registry.OutOfReach(err) {
		if l := d.repo.oldTags(ctx, err); l.has(name) {
			return d.listed(l, name), nil // what it points at isn't known, but that it's there
		}
	}
	if errors.Is(err, registry.ErrNotFound) && probed[name] {
		return child{}, errNotExist
	}
	if err != nil {
		return child{}, err
	}
	t, ok := d.boundTo(name, res.manifest.Digest)
	if !ok {
		t.bind(res)
	}
	return child{name, t, time.Until(res.expires)}, nil
}

// errUnlisted is of a tag that the registry's list of tags doesn't name, which is believed.
var errUnlisted = errors.New("it isn't in the list of tags")

// awaitTag waits for a deferred push of the tag.
func (r *repository) awaitTag(ctx context.Context, tag string) error {
	if r.tree.area == nil {
		return nil
	}
	return r.tree.area.Await(ctx, r.Repository, tag)
}

// list asks for the names alone, and for no tag.
func (d *tagsDir) list(ctx context.Context) (listing, error) {
	l, err := d.repo.tagNames(ctx)
	if err != nil {
		return listing{}, err
	}
	d.tree.lists.saw(d.repo.tagsList(), l.content, l.expires)
	return listing{l.names, func(name string) child { return d.listed(l, name) }, d.listedIdentity}, nil
}

// listedIdentity is the identity of the directory that listed gives.
func (d *tagsDir) listedIdentity(name string) identity {
	at := d.at(name)
	if p, _, ok := d.repo.fresh(name); ok {
		t, _ := d.boundTo(name, p.digest)
		return at.identity(t.id)
	}
	return at.identity(d.repo.listedTag(at).next)
}

// listed gives the directory of a tag that the list l names. It sends nothing.
func (d *tagsDir) listed(l tagList, name string) child {
	if p, expires, ok := d.repo.fresh(name); ok {
		t, _ := d.boundTo(name, p.digest)
		return child{name, t, time.Until(expires)}
	}
	return child{name, d.repo.listTag(d.place, name), min(time.Until(l.expires), d.tree.opts.TagTTL)}
}

// boundTo gives the directory of a tag that is known to point at a digest: the
// one that a listing made, where that was bound to it since, else one that isn't
// bound yet and can be bound to nothing else.
func (d *tagsDir) boundTo(name string, dgst digest.Digest) (t *tagDir, bound bool) {
	at := d.at(name)
	if t := d.repo.listedTag(at).bound; t != nil && t.isBoundTo(dgst) {
		return t, true
	}
	return &tagDir{place: at, repo: d.repo, tag: name, id: dgst, digest: dgst}, false
}

// tagDir is the directory of a tag. It is bound to one digest for good: at once
// where the tag was asked for, else by the first look into it. Its inode number
// is of the digest where that was known in time, else of a number that no
// directory of this tag had before.
type tagDir struct {
	place
	repo   *repository
	tag    string
	id     digest.Digest // what tells this directory from others of the tag
	digest digest.Digest // "" until that is known

	mu    sync.Mutex // before repository.mu
	image *image     // nil until bound
}

func (t *tagDir) stat() stat { return t.dirStat(t.id) }

func (t *tagDir) isBoundTo(d digest.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.image != nil && t.image.desc.Digest == d
}

// bind binds the directory, once, and gives what it is bound to.
func (t *tagDir) bind(res resolution) *image {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.image == nil {
		t.image = newImage(t.place, t.up(2), t.repo, res.manifest, t.id, t.tag)
		if t.digest == "" {
			t.repo.boundTag(t)
		}
	}
	return t.image
}

// resolve binds the directory where it isn't yet: to the digest that it is known
// to be of, else to what the tag points at now.
func (t *tagDir) resolve(ctx context.Context) (*image, error) {
	t.mu.Lock()
	img := t.image
	t.mu.Unlock()
	if img != nil {
		return img, nil
	}
	var res resolution
	var err error
	if t.digest != "" {
		res.manifest, err = t.repo.held(ctx, t.digest)
	} else {
		res, err = t.repo.tag(ctx, t.tag)
	}
	if err != nil {
		return nil, err
	}
	return t.bind(res), nil
}

func (t *tagDir) lookup(ctx context.Context, name string) (child, error) {
	if !isImageEntry(name) { // not worth a request
		return child{}, errNotExist
	}
	img, err := t.resolve(ctx)
	if err != nil {
		return child{}, err
	}
	return img.lookup(ctx, name)
}

func (t *tagDir) list(ctx context.Context) (listing, error) {
	img, err := t.resolve(ctx)
	if err != nil {
		return listing{}, err
	}
	return img.list(ctx)
}

func (t *tagDir) xattrs() map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.image == nil {
		return nil
	}
	return t.image.xattrs()
}

// firstListed tells the first directory that a listing made of a tag from those
// that came later. It is the same at each mount.
const firstListed = digest.Digest("listed")

// listedTag is what has become of the directories that listings made of one tag.
// Those that nobody looked into are all the same, and aren't kept.
type listedTag struct {
	bound *tagDir       // the last that was bound
	next  digest.Digest // what tells the next one from those before
}

// listTag makes the directory of a tag that a listing named.
func (r *repository) listTag(tags place, name string) *tagDir {
	at := tags.at(name)
	return &tagDir{place: at, repo: r, tag: name, id: r.listedTag(at).next}
}

func (r *repository) listedTag(at place) listedTag {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.listed[at.path]; ok {
		return l
	}
	return listedTag{next: firstListed}
}

// boundTag remembers that a directory that a listing made was bound.
func (r *repository) boundTag(t *tagDir) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation++
	r.listed[t.path] = listedTag{t, digest.Digest(fmt.Sprint("listed ", r.generation))}
}
