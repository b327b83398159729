package fs

import (
	"bytes"
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// pushTree is the Tree for the staging area.
type pushTree struct{ *Tree }

var _ upload.Tree = pushTree{}

func (t pushTree) Blob(ctx context.Context, r ref.Repository, d digest.Digest) (int64, error) {
	return t.repository(r).BlobSize(ctx, d)
}

func (t pushTree) Lacks(r ref.Repository, d digest.Digest) bool { return t.repository(r).Lacks(d) }

func (t pushTree) TagPoints(ctx context.Context, r ref.Repository, tag string) (digest.Digest, error) {
	now, err := t.repository(r).Revalidate(ctx, tag)
	return now.Digest, err
}

func (t pushTree) Manifest(ctx context.Context, r ref.Repository, d digest.Digest) (*registry.Manifest, error) {
	return t.repository(r).Manifest(ctx, d)
}

// OpenBlob opens a manifest as a blob too, which no registry does. If the cache has lost its
// bytes, they come from the manifest.
func (t pushTree) OpenBlob(ctx context.Context, by upload.Program, b upload.Blob) (upload.Content, error) {
	r := t.repository(b.Repository)
	f, err := t.get(ctx, payerOf(by), r.Want(v1.Descriptor{Digest: b.Digest, Size: b.Size}))
	if err == nil {
		return f, nil
	}
	if !errors.Is(err, registry.ErrNotFound) || !r.HasManifest(b.Digest) {
		return nil, err
	}
	m, err := r.ShownManifest(ctx, b.Digest)
	if err != nil {
		return nil, err
	}
	return manifestContent{bytes.NewReader(m.Raw)}, nil
}

// manifestContent is the bytes of a manifest.
type manifestContent struct{ *bytes.Reader }

func (manifestContent) Close() error { return nil }

func (t pushTree) Adopt(d digest.Digest, size int64, path string) error {
	return t.store.Adopt(d, size, path)
}

func (t pushTree) MakeRoom(n int64) { t.store.MakeRoom(n) }

// PushedBlob shows the blob from now on.
func (t pushTree) PushedBlob(b upload.Blob) {
	t.repository(b.Repository).PushedBlob(b.Digest, b.Size)
	t.await(t.outdate(b.Repository, newDigest(blobsName, b.Digest)))
}

// PushedManifest shows the manifest, and the tags that point at it. Listings name them at once.
func (t pushTree) PushedManifest(r ref.Repository, m *registry.Manifest, tags ...string) {
	awaited := false
	for _, tag := range tags {
		awaited = awaited || t.area.Deferred(r, tag)
	}
	c := t.repository(r).PushedManifest(m, tags...)
	outdated := t.outdate(r, staleAfter(c, newDigest)...)
	// A lookup that waits for a deferred push has tags/ locked in the kernel. The kernel
	// takes nothing in before that lookup ends, so waiting for the kernel would only delay
	// the lookup.
	if !awaited {
		t.await(outdated)
	}
}

// Deferring makes the kernel look up a tag again, because its push is deferred.
func (t pushTree) Deferring(r ref.Repository, tag string) { t.await(t.outdate(r, staleTag(tag))) }

// Failed reports a push that failed without a program that waits for it.
func (t pushTree) Failed(r ref.Repository, at string, err error) {
	t.kernel.Fail(context.Background(), t.pathOf(r.Host, r.Path, node.Join(uploadName, at)), "push", err)
}
