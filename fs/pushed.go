package fs

import (
	"bytes"
	"context"
	"errors"
	"path"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// pushTree is the tree as the staging area sees it.
type pushTree struct{ *Tree }

var _ upload.Tree = pushTree{}

func (t pushTree) Blob(ctx context.Context, r ref.Repository, d digest.Digest) (int64, error) {
	p, err := t.repository(r).blob(ctx, d)
	return p.size, err
}

func (t pushTree) Lacks(r ref.Repository, d digest.Digest) bool {
	p, ok := t.repository(r).known.has(blobObject(d))
	return ok && p.missing
}

func (t pushTree) TagPoints(ctx context.Context, r ref.Repository, tag string) (digest.Digest, error) {
	res, err := t.repository(r).revalidate(ctx, tag)
	if err != nil {
		return "", err
	}
	return res.manifest.Digest, nil
}

func (t pushTree) Manifest(ctx context.Context, r ref.Repository, d digest.Digest) (*registry.Manifest, error) {
	return t.repository(r).manifest(ctx, d)
}

// OpenBlob takes a manifest for a blob as well, which no registry does: where the
// cache hasn't got it any more, it comes as a manifest.
func (t pushTree) OpenBlob(ctx context.Context, b upload.Blob) (upload.Content, error) {
	r := t.repository(b.Repository)
	f, err := t.get(ctx, r.want(b.Digest, b.Size))
	if err == nil {
		return f, nil
	}
	if p, ok := r.known.has(manifestObject(b.Digest)); !ok || p.missing || !errors.Is(err, registry.ErrNotFound) {
		return nil, err
	}
	m, err := r.held(ctx, b.Digest)
	if err != nil {
		return nil, err
	}
	return heldContent{bytes.NewReader(m.Raw)}, nil
}

// heldContent is the bytes of a manifest.
type heldContent struct{ *bytes.Reader }

func (heldContent) Close() error { return nil }

func (t pushTree) Adopt(d digest.Digest, size int64, path string) error {
	return t.store.Adopt(d, size, path)
}

func (t pushTree) MakeRoom(n int64) { t.store.MakeRoom(n) }

// PushedBlob shows what the repository has from now on.
func (t pushTree) PushedBlob(b upload.Blob) {
	t.repository(b.Repository).saw(blobObject(b.Digest), b.Size)
	t.wait(t.outdate(b.Repository, newEntry(blobsName, b.Digest)))
}

// PushedManifest shows a manifest, and that tags point at it. Listings name them at
// once.
func (t pushTree) PushedManifest(repo ref.Repository, m *registry.Manifest, tags ...string) {
	r := t.repository(repo)
	r.keep(m)
	entries := []stale{newEntry(manifestsName, m.Digest), newEntry(blobsName, m.Digest)}
	asked := time.Now()
	awaited, appeared := false, false
	for _, tag := range tags {
		awaited = awaited || t.area.Deferred(repo, tag)
		before, known := r.pointsAt(tag)
		r.remember(tag, m.Digest, asked)
		if !known || before != m.Digest { // else whoever stands in it is left alone
			entries = append(entries, stale{dir: tagsName, name: tag})
		}
		appeared = appeared || !known
	}
	if r.addTags(tags, appeared) {
		entries = append([]stale{{dir: tagsName}}, entries...)
	}
	if m.Subject != nil {
		t.referrers.forget(repo, m.Subject.Digest)
		entries = append(entries, digestEntry(referrersName, m.Subject.Digest))
	}
	outdated := t.outdate(repo, entries...)
	if !awaited { // else a lookup of the tag waits for this push, and the kernel for the lookup
		t.wait(outdated)
	}
}

// Deferring has the kernel look up a tag anew whose push is deferred.
func (t pushTree) Deferring(repo ref.Repository, tag string) {
	t.wait(t.outdate(repo, stale{dir: tagsName, name: tag}))
}

// Failed tells a person of a push that no program waited for.
func (t pushTree) Failed(repo ref.Repository, at string, err error) {
	r := t.repository(repo)
	place{t.Tree, r.path(path.Join(uploadName, at))}.fail(context.Background(), "push", err)
}

// pointsAt is what a tag was last known to point at.
func (r *repository) pointsAt(tag string) (digest.Digest, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.tags[tag]
	return p.digest, ok
}

// addTags adds tags to the list of tags. changed says that the list changed; without a list,
// that a tag appeared, which wasn't known before.
func (r *repository) addTags(tags []string, appeared bool) (changed bool) {
	if len(tags) == 0 {
		return false
	}
	return r.changeTags(appeared, func(names []string) []string {
		names = append(names, tags...)
		slices.Sort(names)
		return slices.Compact(names)
	})
}

// changeTags changes the list of tags, where there is one, as this mount did at the registry.
// changed says that the list changed; without a list it is probably.
func (r *repository) changeTags(probably bool, change func(names []string) []string) (changed bool) {
	r.mu.Lock()
	r.changes++ // a list that is on its way here may be older
	before := r.names
	if before.names != nil {
		r.names = before.with(change(slices.Clone(before.names)))
	}
	after := r.names
	r.mu.Unlock()
	switch {
	case before.names == nil && probably:
		r.tree.lists.change(r.tagsList())
		return true
	case before.content != after.content:
		r.tree.lists.saw(r.tagsList(), after.content, after.expires)
		return true
	}
	return false
}
