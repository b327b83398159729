package known

import (
	"context"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
)

// Changed says what a push or a deletion changed in the tree.
type Changed struct {
	Tags     []string      // new, gone, or pointing elsewhere
	TagList  bool          // the list of tags has changed
	Subject  digest.Digest // its referrers have changed; "": none
	Manifest digest.Digest // new, or gone
}

// PushedBlob notes that the repository has a blob from now on.
func (r Repository) PushedBlob(d digest.Digest, size int64) { r.saw(r.blobObject(d), size) }

// PushedManifest notes that the repository has a manifest from now on, and that tags point at it.
// Listings name them at once.
func (r Repository) PushedManifest(m *registry.Manifest, tags ...string) Changed {
	r.keep(m)
	c := Changed{Manifest: m.Digest}
	asked := r.rs.now()
	appeared := false
	for _, tag := range tags {
		before, known := r.rs.tags.peek(r.tagKey(tag))
		r.remember(tag, m.Digest, asked)
		if !known || before.digest != m.Digest { // an unchanged tag keeps its directory
			c.Tags = append(c.Tags, tag)
		}
		appeared = appeared || !known
	}
	if len(tags) > 0 {
		c.TagList = r.changeTagList(appeared, func(names []string) []string {
			names = append(names, tags...)
			slices.Sort(names)
			return slices.Compact(names)
		})
	}
	c.Subject = r.referrersChanged(m)
	return c
}

// referrersChanged notes that a manifest was added to the referrers of its subject, or removed.
// It gives the subject.
func (r Repository) referrersChanged(m *registry.Manifest) digest.Digest {
	if m.Subject == nil {
		return ""
	}
	r.dropReferrers(m.Subject.Digest)
	return m.Subject.Digest
}

// DeleteTag deletes a tag at the registry. The manifest stays.
func (r Repository) DeleteTag(ctx context.Context, tag string) (Changed, error) {
	if err := r.rs.o.Client.DeleteTag(ctx, r.Repository, tag); err != nil {
		return Changed{}, err
	}
	r.TagsGone(tag)
	return Changed{Tags: []string{tag}, TagList: true}, nil
}

// DeleteManifest deletes a manifest at the registry, and all tags that point at it.
func (r Repository) DeleteManifest(ctx context.Context, d digest.Digest) (Changed, error) {
	m, err := r.Manifest(ctx, d) // to know its subject
	if err != nil {
		return Changed{}, err
	}
	if err := r.rs.o.Client.DeleteManifest(ctx, r.Repository, d, m); err != nil {
		return Changed{}, err
	}
	r.deny(r.manifestObject(d))
	r.deny(r.blobObject(d))
	var tags []string
	r.eachTag(func(tag string, p pointer) bool {
		if p.digest == d {
			tags = append(tags, tag)
		}
		return true
	})
	r.TagsGone(tags...)
	return Changed{Tags: tags, TagList: true, Subject: r.referrersChanged(m), Manifest: d}, nil
}

// DeleteBlob deletes a blob at the registry.
func (r Repository) DeleteBlob(ctx context.Context, d digest.Digest) error {
	if err := r.rs.o.Client.DeleteBlob(ctx, r.Repository, d); err != nil {
		return err
	}
	r.deny(r.blobObject(d))
	return nil
}

// TagsGone notes that the registry no longer has these tags. Without tags, any tag may be gone.
func (r Repository) TagsGone(tags ...string) {
	for _, tag := range tags {
		r.dropTag(tag)
	}
	r.changeTagList(len(tags) > 0, func(names []string) []string {
		return slices.DeleteFunc(names, func(s string) bool { return slices.Contains(tags, s) })
	})
	// Tags that aren't known here may be gone too.
	mayBeMore := len(tags) == 0 || r.rs.tags.full()
	if mayBeMore && r.rs.lists.Get(r.Repository).Names != nil {
		r.rs.lists.update(r.Repository, func(l TagList) TagList {
			l.Until = time.Time{}
			return l
		})
	}
}

// changeTagList changes the list of tags in memory as this mount changed it at the registry.
// changed says whether the list is another one now. If no list is in memory, that isn't known,
// and changed is likely.
func (r Repository) changeTagList(likely bool, change func(names []string) []string) (changed bool) {
	r.rs.changes.changed(r.Repository) // a list on its way here may be older
	known := r.rs.lists.Get(r.Repository).Names != nil
	var before, after TagList
	if known {
		after = r.rs.lists.update(r.Repository, func(l TagList) TagList {
			before = l
			if l.Names == nil {
				return l
			}
			return l.with(change(slices.Clone(l.Names)))
		})
	}
	switch {
	case before.Names == nil && likely:
		r.rs.times.change(r.TagsName())
		return true
	case before.Content != after.Content:
		r.rs.times.saw(r.TagsName(), after.Content, after.Until)
		return true
	}
	return false
}
