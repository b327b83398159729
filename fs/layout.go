package fs

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// Bounds of what is followed from one index. Real ones have some dozens of
// children and are nested twice at most.
const (
	maxReachable = 20_000
	maxNesting   = 16
)

// named lists what a manifest names as part of its content.
func named(m *registry.Manifest) []v1.Descriptor {
	return slices.Concat(m.Manifests, m.Blobs())
}

// closure tells what is reachable from a manifest of a repository.
type closure struct {
	repository ref.Repository
	digest     digest.Digest
}

// maxClosures is how many closures are kept in memory: whoever walks through a
// layout asks for one of them over and over.
const maxClosures = 8

// direct is what can be told without a request: the manifest itself and what it
// names.
func (i *image) direct(ctx context.Context) ([]v1.Descriptor, error) {
	m, err := i.load(ctx)
	if err != nil {
		return nil, err
	}
	return append([]v1.Descriptor{i.desc}, named(m)...), nil
}

// reachable is all content of the image, each digest once: for an index that
// needs its children, a GET each where they aren't cached. Children that the
// registry doesn't have are left out: sparse indexes are met in the wild.
func (i *image) reachable(ctx context.Context) ([]v1.Descriptor, error) {
	this := closure{i.repo.Repository, i.desc.Digest}
	if known, ok := i.tree.closures.Get(this); ok {
		return known, nil
	}
	m, err := i.load(ctx)
	if err != nil {
		return nil, err
	}
	all := []v1.Descriptor{i.desc}
	seen := map[digest.Digest]bool{i.desc.Digest: true}
	level := []*registry.Manifest{m}
	for depth := 0; len(level) > 0; depth++ {
		var manifests []v1.Descriptor
		for _, m := range level {
			for _, d := range named(m) {
				if seen[d.Digest] {
					continue
				}
				seen[d.Digest] = true
				if registry.IsManifestType(d.MediaType) {
					manifests = append(manifests, d)
				} else {
					all = append(all, d)
				}
			}
		}
		if len(all)+len(manifests) > maxReachable || depth > maxNesting {
			return nil, fmt.Errorf("index %s names more than %d things or is nested deeper than %d: %w", i.desc.Digest, maxReachable, maxNesting, registry.ErrCorrupt)
		}
		got := make([]*registry.Manifest, len(manifests))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(8)
		for k, d := range manifests {
			g.Go(func() error {
				m, err := i.repo.child(gctx, d)
				if errors.Is(err, registry.ErrNotFound) {
					return nil
				}
				got[k] = m
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		level = level[:0]
		for k, m := range got {
			if m != nil {
				all = append(all, manifests[k])
				level = append(level, m)
			}
		}
	}
	i.tree.closures.Add(this, all)
	return all, nil
}

// find gives what is reachable and fits, or errNotExist. Only what the manifest
// itself doesn't name makes it look further.
func (i *image) find(ctx context.Context, fits func(v1.Descriptor) bool) (v1.Descriptor, error) {
	for _, known := range []func(context.Context) ([]v1.Descriptor, error){i.direct, i.reachable} {
		ds, err := known(ctx)
		if err != nil {
			return v1.Descriptor{}, err
		}
		if k := slices.IndexFunc(ds, fits); k >= 0 {
			return ds[k], nil
		}
	}
	return v1.Descriptor{}, errNotExist
}

// layoutDir is blobs/ of an image directory.
type layoutDir struct {
	place
	image *image
}

func (d *layoutDir) stat() stat { return d.dirStat(d.image.id, d.image.mtime) }

func (d *layoutDir) algorithm(a digest.Algorithm) child {
	return child{string(a), &layoutBlobs{d.at(string(a)), d.image, a}, forever}
}

func (d *layoutDir) lookup(ctx context.Context, name string) (child, error) {
	if !ref.ValidAlgorithm(name) {
		return child{}, errNotExist
	}
	x, err := d.image.find(ctx, func(x v1.Descriptor) bool { return string(x.Digest.Algorithm()) == name })
	if err != nil {
		return child{}, err
	}
	return d.algorithm(x.Digest.Algorithm()), nil
}

func (d *layoutDir) list(ctx context.Context) (listing, error) {
	all, err := d.image.reachable(ctx)
	if err != nil {
		return listing{}, err
	}
	var cs []child
	for _, x := range all {
		cs = append(cs, d.algorithm(x.Digest.Algorithm()))
	}
	return listChildren(unique(cs)), nil
}

// layoutBlobs is blobs/<algo>/ of an image directory: exactly what is reachable
// from the manifest.
type layoutBlobs struct {
	place
	image *image
	algo  digest.Algorithm
}

func (d *layoutBlobs) stat() stat { return d.dirStat(d.image.id, d.image.mtime) }

func (d *layoutBlobs) blob(x v1.Descriptor) child {
	name := x.Digest.Encoded()
	if registry.IsManifestType(x.MediaType) {
		return child{name, d.image.manifestFile(d.at(name), x), forever}
	}
	return child{name, &blobFile{d.at(name), d.image.repo, x.Digest, x.Size, d.image.mtime, x.MediaType}, forever}
}

func (d *layoutBlobs) lookup(ctx context.Context, name string) (child, error) {
	want, err := ref.NewDigest(string(d.algo), name)
	if err != nil {
		return child{}, err
	}
	x, err := d.image.find(ctx, func(x v1.Descriptor) bool { return x.Digest == want })
	if err != nil {
		return child{}, err
	}
	return d.blob(x), nil
}

func (d *layoutBlobs) list(ctx context.Context) (listing, error) {
	all, err := d.image.reachable(ctx)
	if err != nil {
		return listing{}, err
	}
	var cs []child
	for _, x := range all {
		if x.Digest.Algorithm() == d.algo {
			cs = append(cs, d.blob(x))
		}
	}
	return listChildren(cs), nil
}
