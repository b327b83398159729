package fs

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// tagsDir is tags/: it has an image directory for each tag.
type tagsDir struct {
	place
	repo known.Repository
}

func newTagsDir(at place, r known.Repository) node.Directory { return &tagsDir{at, r} }

func (d *tagsDir) Attr() node.Attr { return d.listAttr(d.repo.TagsName()) }

// Lookup finds the directory of a tag.
func (d *tagsDir) Lookup(ctx context.Context, name string) (node.Child, error) {
	t, err := d.find(ctx, name)
	if err != nil {
		return node.Child{}, err
	}
	return d.child(name, t), nil
}

// find finds a tag. It waits for a deferred push of the tag first. A missing tag isn't reported if
// its name is one that programs look up everywhere.
func (d *tagsDir) find(ctx context.Context, name string) (known.Tag, error) {
	if !ref.ValidTag(name) {
		return known.Tag{}, node.ErrNotExist
	}
	if d.tree.area != nil {
		if err := d.tree.area.Await(ctx, d.repo.Repository, name); err != nil {
			return known.Tag{}, err
		}
	}
	t, err := d.repo.LookUpTag(ctx, name)
	if probed[name] && (errors.Is(err, registry.ErrNotFound) || errors.Is(err, known.ErrUnlisted)) {
		return known.Tag{}, node.ErrNotExist
	}
	return t, err
}

// List asks the registry only for the names, and for no tag.
func (d *tagsDir) List(ctx context.Context) (node.Listing, error) {
	l, err := d.repo.Tags(ctx)
	if err != nil {
		return node.Listing{}, err
	}
	d.repo.SawTags(l)
	return d.listing(l), nil
}

func (d *tagsDir) listing(l known.TagList) node.Listing {
	return node.Listing{
		Names: l.Names,
		Child: func(name string) node.Child { return d.child(name, d.repo.Listed(l, name)) },
		Identity: func(name string) node.Identity {
			_, id := d.shown(name, d.repo.Listed(l, name).Digest)
			return d.childIdentity(name, id)
		},
	}
}

// child makes the child for a tag.
func (d *tagsDir) child(name string, t known.Tag) node.Child {
	dir := d.dir(name, t.Digest)
	if t.Manifest != nil {
		dir.bind(t.Manifest)
	}
	return node.Child{Name: name, Entry: dir, TTL: t.Until.Sub(d.tree.opts.now())}
}

// dir gives the directory of a tag that points at a digest. If the digest isn't known, it is "", and
// the first look into the directory binds it.
func (d *tagsDir) dir(tag string, points digest.Digest) *tagDir {
	bound, id := d.shown(tag, points)
	if bound != nil {
		return bound
	}
	return &tagDir{in: d, tag: tag, id: id, listed: points == ""}
}

// shown gives the directory that shows a tag, with its id. If a listing made a directory that was
// bound since, that one is shown as long as the tag points at the same digest. Otherwise bound is
// nil, and a new directory with that id shows the tag.
func (d *tagsDir) shown(tag string, points digest.Digest) (bound *tagDir, id digest.Digest) {
	bound, next := d.tree.tagDirs.last(tagPlace{d.path, tag})
	switch {
	case points == "":
		return nil, next
	case bound != nil && bound.isBoundTo(points):
		return bound, bound.id
	}
	return nil, points
}
