package fs

import (
	"context"
	"errors"

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
		Names:    l.Names,
		Child:    func(name string) node.Child { return d.child(name, d.repo.Listed(l, name)) },
		Identity: func(name string) node.Identity { return d.dir(name, d.repo.Listed(l, name)).identity() },
	}
}

// child makes the child for a tag.
func (d *tagsDir) child(name string, t known.Tag) node.Child {
	dir := d.dir(name, t)
	if t.Manifest != nil {
		dir.bind(t.Manifest)
	}
	return node.Child{Name: name, Entry: dir, TTL: t.Until.Sub(d.tree.opts.now())}
}

// dir gives the directory of a tag. If a listing made a directory that was bound since, that one
// is used as long as the tag points at the same digest. Otherwise dir makes a new one for the
// tag's digest. If the digest isn't known, the first look into the directory binds it.
func (d *tagsDir) dir(name string, t known.Tag) *tagDir {
	at := d.at(name)
	bound, next := d.tree.tagDirs.last(at.path)
	id := t.Digest
	switch {
	case t.Digest == "":
		id = next
	case bound != nil && bound.isBoundTo(t.Digest):
		return bound
	}
	dir := &tagDir{place: at, repo: d.repo, tag: name, id: id, digest: t.Digest}
	dir.lazy = lazy{isImageEntry, dir.resolve}
	return dir
}
