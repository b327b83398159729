package fs

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
)

// byDigest has the operations on a digest, which differ for manifests/, blobs/, referrers/, rootfs/
// and unpacked/.
type byDigest struct {
	// find finds the entry of a digest, and gives how long the kernel may keep it.
	find func(ctx context.Context, at place, r known.Repository, d digest.Digest) (node.Entry, time.Duration, error)
	// removeDir and removeFile delete at the registry what is shown as a directory or as a
	// file. nil: it can't be deleted in that way.
	removeDir, removeFile func(ctx context.Context, t *Tree, r known.Repository, d digest.Digest) error
}

func newManifestsDir(at place, r known.Repository) node.Directory {
	return newDigestsDir(at, r, byDigest{find: findManifest, removeDir: deleteManifest})
}

func newBlobsDir(at place, r known.Repository) node.Directory {
	return newDigestsDir(at, r, byDigest{find: findBlob, removeFile: deleteBlob})
}

func newReferrersDir(at place, r known.Repository) node.Directory {
	return newDigestsDir(at, r, byDigest{find: findReferrers})
}

// newDigestsDir makes a directory of things by digest, such as blobs/: it has a directory for each
// digest algorithm. A lookup of such a directory sends no request.
func newDigestsDir(at place, r known.Repository, do byDigest) node.Directory {
	d := &fixed{place: at}
	for _, a := range ref.Algorithms {
		d.add(string(a), &digestsDir{at.at(string(a)), r, a, do})
	}
	return d
}

// digestsDir is <algo>/ in a directory of things by digest. It lists nothing, because
// registries can't list digests. A lookup finds a digest that the program knows.
type digestsDir struct {
	place
	repo known.Repository
	algo digest.Algorithm
	do   byDigest
}

func (d *digestsDir) Attr() node.Attr { return d.dirAttr("") }

func (d *digestsDir) Lookup(ctx context.Context, name string) (node.Child, error) {
	dgst, err := ref.NewDigest(string(d.algo), name)
	if err != nil {
		return node.Child{}, err
	}
	e, ttl, err := d.do.find(ctx, d.at(name), d.repo, dgst)
	return node.Child{Name: name, Entry: e, TTL: ttl}, err
}

func (d *digestsDir) List(context.Context) (node.Listing, error) { return node.Listing{}, nil }

// believedFor gives how long the kernel keeps an answer. old says that it is an old answer, shown
// because the registry can't be asked.
func believedFor(old bool) time.Duration {
	if old {
		return oldTTL
	}
	return forever
}

// oldTTL is how long the kernel keeps an old answer.
const oldTTL = 5 * time.Second

// findManifest finds an image directory.
func findManifest(ctx context.Context, at place, r known.Repository, d digest.Digest) (node.Entry, time.Duration, error) {
	m, old, err := r.LookUpManifest(ctx, d)
	if err != nil {
		return nil, 0, err
	}
	return newImage(at, at.up(3), r, m, m.Digest, ""), believedFor(old), nil
}

// findBlob finds a blob.
func findBlob(ctx context.Context, at place, r known.Repository, d digest.Digest) (node.Entry, time.Duration, error) {
	b, err := r.LookUpBlob(ctx, d)
	if err != nil {
		return nil, 0, err
	}
	return &blobFile{place: at, repo: r, digest: d, size: b.Size, mtime: epoch}, believedFor(b.Old), nil
}

// findReferrers finds the directory of the referrers of a digest. Every digest has one: the
// registry is asked when somebody looks into the directory.
func findReferrers(_ context.Context, at place, r known.Repository, d digest.Digest) (node.Entry, time.Duration, error) {
	return newReferrersOf(at, r, d), forever, nil
}
