package fs

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
)

// mayDelete says whether this mount may delete anything at a registry.
func (t *Tree) mayDelete() bool { return t.opts.AllowDelete && !t.opts.ReadOnly }

// RemoveDir deletes a tag.
func (d *tagsDir) RemoveDir(ctx context.Context, name string) error {
	if !d.tree.mayDelete() || !ref.ValidTag(name) {
		return node.ErrReadOnly
	}
	changed, err := d.repo.DeleteTag(ctx, name)
	if err != nil {
		return err
	}
	d.tree.deleted(d.repo, changed)
	return nil
}

// RemoveFile refuses, because a tag is a directory.
func (d *tagsDir) RemoveFile(context.Context, string) error { return node.ErrReadOnly }

// RemoveDir deletes a manifest.
func (d *digestsDir) RemoveDir(ctx context.Context, name string) error {
	return d.remove(ctx, name, d.do.removeDir)
}

// RemoveFile deletes a blob.
func (d *digestsDir) RemoveFile(ctx context.Context, name string) error {
	return d.remove(ctx, name, d.do.removeFile)
}

func (d *digestsDir) remove(ctx context.Context, name string, remove func(context.Context, *Tree, known.Repository, digest.Digest) error) error {
	dgst, err := ref.NewDigest(string(d.algo), name)
	if remove == nil || err != nil || !d.tree.mayDelete() {
		return node.ErrReadOnly
	}
	return remove(ctx, d.tree, d.repo, dgst)
}

// deleteManifest deletes a manifest, and all tags that point at it.
func deleteManifest(ctx context.Context, t *Tree, r known.Repository, d digest.Digest) error {
	changed, err := r.DeleteManifest(ctx, d)
	if err != nil {
		return err
	}
	t.deleted(r, changed)
	return nil
}

func deleteBlob(ctx context.Context, t *Tree, r known.Repository, d digest.Digest) error {
	if err := r.DeleteBlob(ctx, d); err != nil {
		return err
	}
	t.area.Deleted(r.Repository, d.String())
	t.outdate(r.Repository, staleDigest(blobsName, d))
	return nil
}

// deleted tells the staging area and the kernel what was deleted.
func (t *Tree) deleted(r known.Repository, c known.Changed) {
	if c.Manifest != "" {
		t.area.Deleted(r.Repository, c.Manifest.String())
	}
	for _, tag := range c.Tags {
		t.area.Deleted(r.Repository, tag)
	}
	t.outdate(r.Repository, staleAfter(c, staleDigest)...)
}
