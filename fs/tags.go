package fs

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// tagsDir is tags/: an image directory for each tag.
type tagsDir struct {
	place
	repo *repository
}

func (d *tagsDir) stat() stat { return d.dirStat("", d.tree.started) }

// lookup asks for a tag that no listing named. Where one did, the tag is a
// directory without a request, and resolved when someone looks into it.
func (d *tagsDir) lookup(ctx context.Context, name string) (child, error) {
	if !ref.ValidTag(name) {
		return child{}, errNotExist
	}
	if c, ok := d.atHand(name); ok {
		return c, nil
	}
	res, err := d.repo.tag(ctx, name)
	if err != nil {
		return child{}, err
	}
	return d.bound(name, res), nil
}

// atHand gives a tag's directory where no request is needed for it.
func (d *tagsDir) atHand(name string) (child, bool) {
	if dgst, expires, ok := d.repo.fresh(name); ok {
		if t := d.repo.listedTag(name, d.place); t != nil && t.boundTo(dgst) {
			return child{name, t, time.Until(expires)}, true
		}
		d.repo.confirm(dgst)
		if m := d.repo.cachedManifest(dgst); m != nil {
			d.repo.admit(m)
			return d.bound(name, resolution{m, expires}), true
		}
		return child{}, false
	}
	l := d.repo.knownTags()
	if _, listed := slices.BinarySearch(l.names, name); !listed {
		return child{}, false
	}
	return child{name, d.repo.listTag(d.place, name), min(time.Until(l.expires), d.tree.opts.TagTTL)}, true
}

func (d *tagsDir) bound(name string, res resolution) child {
	at := d.at(name)
	t := &tagDir{place: at, repo: d.repo, tag: name, id: res.manifest.Digest, expires: res.expires}
	t.image = newImage(at, at.up(2), d.repo, res.manifest, name)
	return child{name, t, time.Until(res.expires)}
}

func (d *tagsDir) list(ctx context.Context) (listing, error) {
	l, err := d.repo.tagNames(ctx)
	if err != nil {
		return listing{}, err
	}
	return listing{l.names, func(name string) child {
		if c, ok := d.atHand(name); ok {
			return c
		}
		return child{name, d.repo.listTag(d.place, name), min(time.Until(l.expires), d.tree.opts.TagTTL)}
	}}, nil
}

// tagDir is the directory of a tag. It is bound to one digest for good: at once
// where the tag was asked for, else by the first look into it. Its inode number
// is of the digest where that was known in time, else of a number that no
// directory of this tag had before.
type tagDir struct {
	place
	repo *repository
	tag  string
	id   digest.Digest // what tells this directory from others of the tag

	mu      sync.Mutex
	image   *image // nil until bound
	expires time.Time
}

func (t *tagDir) stat() stat {
	mtime := t.tree.started
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.image != nil {
		mtime = t.image.mtime
	}
	return t.dirStat(t.id, mtime)
}

func (t *tagDir) boundTo(d digest.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.image != nil && t.image.manifest.Digest == d
}

// resolve binds the directory, once.
func (t *tagDir) resolve(ctx context.Context) (*image, error) {
	t.mu.Lock()
	img := t.image
	t.mu.Unlock()
	if img != nil {
		return img, nil
	}
	res, err := t.repo.tag(ctx, t.tag)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.image == nil {
		t.image = newImage(t.place, t.place.up(2), t.repo, res.manifest, t.tag)
		t.expires = res.expires
	}
	return t.image, nil
}

func (t *tagDir) lookup(ctx context.Context, name string) (child, error) {
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

// listTag gives the directory of a tag that a listing named: the one given
// before as long as it isn't bound, else a new one.
func (r *repository) listTag(tags place, name string) *tagDir {
	at := tags.at(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.listed[at.path]
	if t == nil || t.isBound() {
		r.generation++
		t = &tagDir{place: at, repo: r, tag: name, id: digest.Digest(fmt.Sprint("listed ", r.generation))}
		if r.listed[at.path] == nil {
			t.id = "listed" // the same at each mount
		}
		r.listed[at.path] = t
	}
	return t
}

// listedTag gives the last directory that listTag gave, or nil.
func (r *repository) listedTag(name string, tags place) *tagDir {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listed[tags.at(name).path]
}

func (t *tagDir) isBound() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.image != nil
}
