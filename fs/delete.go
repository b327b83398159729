package fs

import (
	"context"
	"slices"
	"syscall"
	"time"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// remover is a directory whose children can be deleted at the registry, where
// Options.AllowDelete. What is no child that can be is errReadOnly.
type remover interface {
	remove(ctx context.Context, name string, isDir bool) error
}

var (
	_ gofs.NodeUnlinker = (*dirNode)(nil)
	_ gofs.NodeRmdirer  = (*dirNode)(nil)
	_ remover           = (*tagsDir)(nil)
	_ remover           = (*digestsDir)(nil)
)

func (n *dirNode) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.delete(ctx, "unlink", name, false)
}

func (n *dirNode) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.delete(ctx, "rmdir", name, true)
}

func (n *dirNode) delete(ctx context.Context, op, name string, isDir bool) syscall.Errno {
	at := n.dir.where()
	d, ok := n.dir.(remover)
	if !ok || !at.tree.opts.AllowDelete || at.tree.opts.ReadOnly {
		return syscall.EROFS
	}
	ctx, stop := heeding(ctx)
	defer stop()
	if err := d.remove(ctx, name, isDir); err != nil {
		return at.at(name).fail(ctx, op, err)
	}
	return 0
}

// remove deletes a tag.
func (d *tagsDir) remove(ctx context.Context, name string, isDir bool) error {
	if !isDir || !ref.ValidTag(name) {
		return errReadOnly
	}
	return d.repo.deleteTag(ctx, name)
}

// remove deletes a manifest or a blob.
func (d *digestsDir) remove(ctx context.Context, name string, isDir bool) error {
	remove := d.do.removeFile
	if isDir {
		remove = d.do.removeDir
	}
	dgst, err := ref.NewDigest(string(d.algo), name)
	if remove == nil || err != nil {
		return errReadOnly
	}
	return remove(d.repo, ctx, dgst)
}

// deleteTag deletes a tag, and leaves what it points at.
func (r *repository) deleteTag(ctx context.Context, tag string) error {
	if err := r.tree.client.DeleteTag(ctx, r.Repository, tag); err != nil {
		return err
	}
	r.dropTags(tag)
	r.tree.outdate(r.Repository, stale{dir: tagsName}, stale{dir: tagsName, name: tag})
	return nil
}

// deleteManifest deletes a manifest, and with it the tags that point at it.
func (r *repository) deleteManifest(ctx context.Context, d digest.Digest) error {
	m, err := r.manifest(ctx, d) // for what it refers to
	if err != nil {
		return err
	}
	if err := r.tree.client.DeleteManifest(ctx, r.Repository, m); err != nil {
		return err
	}
	r.known.denied(manifestObject(d))
	r.known.denied(blobObject(d))
	r.tree.area.Deleted(r.Repository, d.String())
	entries := []stale{{dir: tagsName}, digestEntry(manifestsName, d), digestEntry(blobsName, d)}
	tags := r.tagsOf(d)
	r.dropTags(tags...)
	for _, tag := range tags {
		entries = append(entries, stale{dir: tagsName, name: tag})
	}
	if m.Subject != nil {
		r.tree.referrers.forget(r.Repository, m.Subject.Digest)
		entries = append(entries, digestEntry(referrersName, m.Subject.Digest))
	}
	r.tree.outdate(r.Repository, entries...)
	return nil
}

func (r *repository) deleteBlob(ctx context.Context, d digest.Digest) error {
	if err := r.tree.client.DeleteBlob(ctx, r.Repository, d); err != nil {
		return err
	}
	r.known.denied(blobObject(d))
	r.tree.area.Deleted(r.Repository, d.String())
	r.tree.outdate(r.Repository, digestEntry(blobsName, d))
	return nil
}

// tagsOf lists the tags that were last known to point at a digest.
func (r *repository) tagsOf(d digest.Digest) (tags []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for tag, p := range r.tags {
		if p.digest == d {
			tags = append(tags, tag)
		}
	}
	return tags
}

// dropTags forgets tags that the registry has no more.
func (r *repository) dropTags(tags ...string) {
	for _, tag := range tags {
		r.forget(tag)
		r.tree.area.Deleted(r.Repository, tag)
	}
	r.changeTags(len(tags) > 0, func(names []string) []string {
		return slices.DeleteFunc(names, func(s string) bool { return slices.Contains(tags, s) })
	})
	if len(tags) == 0 { // there may be some that aren't known here
		r.mu.Lock()
		r.names.expires = time.Time{}
		r.mu.Unlock()
	}
}
