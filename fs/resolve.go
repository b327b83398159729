package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

// resolution is a tag with its manifest.
type resolution struct {
	manifest *registry.Manifest
	expires  time.Time
}

// tag gives the manifest that a tag points at, and until when that holds. Cold
// it costs one GET, later one HEAD where the time is over, else nothing. Where the
// registry can't be asked, what is known is better than nothing, and a person is
// told.
func (r *repository) tag(ctx context.Context, tag string) (resolution, error) {
	if p, until, ok := r.fresh(tag); ok && until.Equal(p.shown) {
		if m := r.cachedManifest(p.digest); m != nil {
			return resolution{m, until}, nil
		}
	}
	res, err := r.resolving.do(ctx, tag, func(ctx context.Context) (resolution, error) { return r.resolve(ctx, tag) })
	if registry.OutOfReach(err) {
		if old, ok := r.oldTag(ctx, tag, err); ok {
			return old, nil
		}
	}
	return res, err
}

// resolve asks for what isn't known of a tag, or isn't believed any more.
func (r *repository) resolve(ctx context.Context, tag string) (resolution, error) {
	asked := time.Now()
	if p, ok := r.recall(ctx, tag); ok {
		until, believed := r.believed(p)
		if !believed {
			return r.revalidate(ctx, tag)
		}
		r.confirm(p.digest)
		m, err := r.manifest(ctx, p.digest)
		return resolution{m, until}, err
	}
	m, err := r.tree.client.Manifest(ctx, r.Repository, tag)
	if err != nil {
		return resolution{}, err
	}
	r.keep(m)
	return resolution{m, r.remember(tag, m.Digest, asked)}, nil
}

// revalidate asks whether a tag still points where it did.
func (r *repository) revalidate(ctx context.Context, tag string) (resolution, error) {
	asked := time.Now()
	res, err := r.tree.client.ResolveManifest(registry.Impatient(ctx), r.Repository, tag)
	switch {
	case err == nil && res.Manifest != nil:
		r.keep(res.Manifest)
		return resolution{res.Manifest, r.remember(tag, res.Manifest.Digest, asked)}, nil
	case err == nil:
		r.confirm(res.Digest)
		m, err := r.manifest(ctx, res.Digest)
		if errors.Is(err, registry.ErrNotFound) { // its HEAD was wrong, or it moved just now
			if m, err = r.tree.client.Manifest(ctx, r.Repository, tag); err == nil {
				r.keep(m)
				return resolution{m, r.remember(tag, m.Digest, asked)}, nil
			}
		}
		if err != nil {
			return resolution{}, err
		}
		return resolution{m, r.remember(tag, res.Digest, asked)}, nil
	case errors.Is(err, registry.ErrNotFound):
		r.forget(tag)
	}
	return resolution{}, err
}

// oldTag gives what a tag was last known to point at, where the cache has that: its
// registry is out of reach, as err says.
func (r *repository) oldTag(ctx context.Context, tag string, err error) (resolution, bool) {
	p, ok := r.recall(ctx, tag)
	if !ok {
		return resolution{}, false
	}
	r.knew(p)
	if seen, ok := r.known.told(manifestObject(p.digest)); ok && seen.missing {
		return resolution{}, false
	}
	m := r.cachedManifest(p.digest)
	if m == nil {
		return resolution{}, false
	}
	until, tell, ok := r.showOn(tag, p)
	if tell {
		place{r.tree, r.path(tagsName + "/" + tag)}.showing(ctx, "lookup", tag, p.checked, err)
	}
	return resolution{m, until}, ok
}

// manifest gives a manifest by digest: a GET once, ever, and a HEAD where the
// cache has it and this repository hasn't confirmed it.
func (r *repository) manifest(ctx context.Context, d digest.Digest) (*registry.Manifest, error) {
	p, confirmed := r.known.has(manifestObject(d))
	if confirmed && p.missing {
		return nil, notFound(r, d)
	}
	if confirmed {
		return r.held(ctx, d)
	}
	return r.fetching.do(ctx, d, func(ctx context.Context) (*registry.Manifest, error) {
		m := r.cachedManifest(d)
		if m == nil {
			return r.fetch(ctx, d)
		}
		_, err := r.tree.client.ResolveManifest(ctx, r.Repository, d.String())
		switch {
		case errors.Is(err, registry.ErrNotFound):
			r.known.denied(manifestObject(d))
			return nil, err
		case err != nil:
			return nil, err
		}
		r.admit(m)
		return m, nil
	})
}

// held gives a manifest by digest to whom this repository has shown that it has
// it: from memory, from the cache, or by a GET. What it names is known from then on
// where it is itself still believed to be there.
func (r *repository) held(ctx context.Context, d digest.Digest) (*registry.Manifest, error) {
	p, confirmed := r.known.has(manifestObject(d))
	confirmed = confirmed && !p.missing
	if m := r.tree.manifests.get(d); m != nil && (p.opened || !confirmed) {
		return m, nil
	}
	return r.fetching.do(ctx, d, func(ctx context.Context) (*registry.Manifest, error) {
		m := r.cachedManifest(d)
		if m == nil {
			return r.fetch(ctx, d)
		}
		if confirmed {
			r.admit(m)
		}
		return m, nil
	})
}

// fetch gets a manifest by digest from the registry.
func (r *repository) fetch(ctx context.Context, d digest.Digest) (*registry.Manifest, error) {
	m, err := r.tree.client.Manifest(ctx, r.Repository, d.String())
	if errors.Is(err, registry.ErrNotFound) {
		r.known.denied(manifestObject(d))
	}
	if err != nil {
		return nil, err
	}
	r.keep(m)
	return m, nil
}

// child is manifest for one that another names with its size.
func (r *repository) child(ctx context.Context, d v1.Descriptor) (*registry.Manifest, error) {
	m, err := r.held(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	if int64(len(m.Raw)) != d.Size {
		return nil, fmt.Errorf("%s is %d bytes, where %d were promised: %w", d.Digest, len(m.Raw), d.Size, registry.ErrCorrupt)
	}
	return m, nil
}

// cachedManifest reads a manifest from the cache; nil where that hasn't it.
func (r *repository) cachedManifest(d digest.Digest) *registry.Manifest {
	if m := r.tree.manifests.get(d); m != nil {
		return m
	}
	f, err := r.tree.store.Open(d, -1)
	if err != nil {
		return nil
	}
	defer f.Close()
	if f.Size() > registry.MaxManifest {
		return nil
	}
	raw, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		return nil
	}
	m, err := registry.ParseManifest(raw, "", d)
	if err != nil {
		return nil
	}
	r.tree.manifests.add(m)
	return m
}

// blob says whether the repository has the blob d: a HEAD where nothing named
// it yet. A manifest that the repository showed counts as one.
func (r *repository) blob(ctx context.Context, d digest.Digest) (presence, error) {
	if p, ok := r.known.has(manifestObject(d)); ok && !p.missing && p.size >= 0 {
		return p, nil
	}
	return r.probe(ctx, d)
}

// probe is blob for what no manifest counts as.
func (r *repository) probe(ctx context.Context, d digest.Digest) (presence, error) {
	p, ok := r.known.has(blobObject(d))
	if ok && p.missing {
		return presence{}, notFound(r, d)
	}
	if ok {
		return p, nil
	}
	return r.probing.do(ctx, d, func(ctx context.Context) (presence, error) {
		res, err := r.tree.client.ResolveBlob(ctx, r.Repository, d)
		if errors.Is(err, registry.ErrNotFound) {
			r.known.denied(blobObject(d))
		}
		if err != nil {
			return presence{}, err
		}
		return r.saw(blobObject(d), res.Size), nil
	})
}
