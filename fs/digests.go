package fs

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// byDigest is what manifests/, blobs/ and referrers/ do with a digest.
type byDigest struct {
	// find finds what stands at a place, and for how long it does.
	find func(r *repository, ctx context.Context, at place, d digest.Digest) (entry, time.Duration, error)
	// removeDir and removeFile delete at the registry what is shown as a directory or
	// as a file; nil where that can't be.
	removeDir, removeFile func(r *repository, ctx context.Context, d digest.Digest) error
}

// algorithms is manifests/, blobs/ or referrers/: a directory for each digest
// algorithm. Looking them up sends nothing.
func algorithms(at place, r *repository, do byDigest) *fixed {
	d := &fixed{place: at}
	for _, a := range ref.Algorithms {
		in := at.at(string(a))
		d.children = append(d.children, child{string(a), &digestsDir{in, r, a, do}, forever})
	}
	return d
}

// digestsDir is manifests/<algo>/, blobs/<algo>/ or referrers/<algo>/. Registries
// can't list digests, so it lists nothing; whoever knows a digest finds it.
type digestsDir struct {
	place
	repo *repository
	algo digest.Algorithm
	do   byDigest
}

func (d *digestsDir) stat() stat { return d.dirStat("") }

func (d *digestsDir) lookup(ctx context.Context, name string) (child, error) {
	dgst, err := ref.NewDigest(string(d.algo), name)
	if err != nil {
		return child{}, err
	}
	e, ttl, err := d.do.find(d.repo, ctx, d.at(name), dgst)
	if err != nil {
		return child{}, err
	}
	return child{name, e, ttl}, nil
}

func (d *digestsDir) list(context.Context) (listing, error) {
	return listing{}, nil
}

// manifestByDigest finds an image directory.
func (r *repository) manifestByDigest(ctx context.Context, at place, d digest.Digest) (entry, time.Duration, error) {
	ttl := forever
	m, err := r.manifest(ctx, d)
	if kept := r.cachedManifest(d); err != nil && kept != nil {
		if _, ok := r.had(ctx, at, manifestObject(d), err); ok {
			m, ttl, err = kept, shownFor, nil
		}
	}
	if err != nil {
		return nil, 0, err
	}
	// By digest alone the name is the one that tools assume.
	return newImage(at, at.up(3), r, m, m.Digest, "latest"), ttl, nil
}

// blobByDigest finds a blob.
func (r *repository) blobByDigest(ctx context.Context, at place, d digest.Digest) (entry, time.Duration, error) {
	ttl := forever
	p, err := r.blob(ctx, d)
	if err != nil {
		o := blobObject(d)
		if told, ok := r.known.told(manifestObject(d)); ok && !told.missing && told.size >= 0 {
			o = manifestObject(d)
		}
		had, ok := r.had(ctx, at, o, err)
		if !ok {
			return nil, 0, err
		}
		p, ttl = had, shownFor
	}
	return &blobFile{place: at, repo: r, digest: d, size: p.size, mtime: epoch}, ttl, nil
}
