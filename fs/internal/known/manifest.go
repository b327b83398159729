package known

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

// Manifest gives a manifest by digest. It sends a GET if the cache lacks the manifest, and a HEAD
// if the cache has it but this repository hasn't confirmed it.
func (r Repository) Manifest(ctx context.Context, d digest.Digest) (*registry.Manifest, error) {
	p, confirmed := r.has(r.manifestObject(d))
	if confirmed && p.missing() {
		return nil, r.notFound(d)
	}
	if confirmed {
		return r.ShownManifest(ctx, d)
	}
	return r.rs.fetching.do(ctx, digestKey{r.Repository, d}, func(ctx context.Context) (*registry.Manifest, error) {
		m := r.cachedManifest(d)
		if m == nil {
			return r.fetch(ctx, d)
		}
		_, err := r.rs.o.Client.ResolveManifest(ctx, r.Repository, d.String())
		switch {
		case errors.Is(err, registry.ErrNotFound):
			r.deny(r.manifestObject(d))
			return nil, err
		case err != nil:
			return nil, err
		}
		r.admit(m)
		return m, nil
	})
}

// LookUpManifest is Manifest for lookups. If the registry is out of reach, its last answer
// counts. Then old is true.
func (r Repository) LookUpManifest(ctx context.Context, d digest.Digest) (m *registry.Manifest, old bool, err error) {
	m, err = r.Manifest(ctx, d)
	if err == nil {
		return m, false, nil
	}
	if kept := r.cachedManifest(d); kept != nil {
		if _, ok := r.had(r.manifestObject(d), err); ok {
			return kept, true, nil
		}
	}
	return nil, false, err
}

// ShownManifest gives a manifest that this repository has shown before, so that it has an image
// directory: from memory, from the cache, or by a GET. It doesn't ask whether the repository
// still has the manifest. If the repository is believed to have it, the pieces of the manifest
// are known from then on.
func (r Repository) ShownManifest(ctx context.Context, d digest.Digest) (*registry.Manifest, error) {
	p, confirmed := r.has(r.manifestObject(d))
	confirmed = confirmed && !p.missing()
	if m := r.rs.manifests.Get(d); m != nil && (p.admitted || !confirmed) {
		return m, nil
	}
	return r.rs.fetching.do(ctx, digestKey{r.Repository, d}, func(ctx context.Context) (*registry.Manifest, error) {
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

// Child is ShownManifest for a manifest whose size another manifest gives.
func (r Repository) Child(ctx context.Context, d v1.Descriptor) (*registry.Manifest, error) {
	m, err := r.ShownManifest(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	if int64(len(m.Raw)) != d.Size {
		return nil, fmt.Errorf("%s is %d bytes, where %d were promised: %w", d.Digest, len(m.Raw), d.Size, registry.ErrCorrupt)
	}
	return m, nil
}

// fetch gets a manifest by digest from the registry.
func (r Repository) fetch(ctx context.Context, d digest.Digest) (*registry.Manifest, error) {
	m, err := r.rs.o.Client.Manifest(ctx, r.Repository, d.String())
	if errors.Is(err, registry.ErrNotFound) {
		r.deny(r.manifestObject(d))
	}
	if err != nil {
		return nil, err
	}
	r.keep(m)
	return m, nil
}

// cachedManifest reads a manifest from memory or the cache; nil: neither has it.
func (r Repository) cachedManifest(d digest.Digest) *registry.Manifest {
	if m := r.rs.manifests.Get(d); m != nil {
		return m
	}
	m := r.blobManifest(d)
	if m == nil {
		m = r.keptManifest(d)
	}
	if m != nil {
		r.rs.manifests.Add(d, m)
	}
	return m
}

// blobManifest reads a manifest that the cache has as a blob; nil: it has none.
func (r Repository) blobManifest(d digest.Digest) *registry.Manifest {
	f, err := r.rs.o.Store.Open(d, -1)
	if err != nil {
		return nil
	}
	defer f.Close()
	return readManifest(d, f, f.Size())
}

// keptManifest reads a manifest that KeepManifest keeps; nil: it keeps none.
func (r Repository) keptManifest(d digest.Digest) *registry.Manifest {
	f, err := r.rs.o.Store.OpenIndex(d)
	if err != nil {
		return nil
	}
	defer f.Close()
	return readManifest(d, f, f.Size())
}

// readManifest reads a manifest of the cache; nil: it can't be read, or is none.
func readManifest(d digest.Digest, f io.ReaderAt, size int64) *registry.Manifest {
	if size > registry.MaxManifest {
		return nil
	}
	raw, err := io.ReadAll(io.NewSectionReader(f, 0, size))
	if err != nil {
		return nil
	}
	m, err := registry.ParseManifest(raw, "", d)
	if err != nil {
		return nil
	}
	return m
}

// KeepManifest keeps a cached manifest as its own index, which no eviction of blobs takes: the
// indexes of an image's layers are of use only as long as the manifest is there that names the
// layers. It sends no request. Whether a repository may show the manifest is asked as ever.
func (r Repository) KeepManifest(d digest.Digest) {
	if f, err := r.rs.o.Store.OpenIndex(d); err == nil {
		f.Close() // it counts as used from now on
		return
	}
	m := r.cachedManifest(d)
	if m == nil {
		return
	}
	err := r.rs.o.Store.PutIndex(d, func(w io.Writer) error {
		_, err := w.Write(m.Raw)
		return err
	})
	if err != nil {
		r.rs.log.Debug("manifest not kept longer than blobs", "digest", d, "cause", err)
	}
}

// confirm notes that the repository has the manifest d, because one of its tags points at it.
func (r Repository) confirm(d digest.Digest) { r.saw(r.manifestObject(d), -1) }

// admit notes a manifest that the repository has shown. The repository is then known to have the
// manifest and its pieces, except those of which only the registry can tell.
func (r Repository) admit(m *registry.Manifest) {
	for piece := range Pieces(m) {
		o, ok := r.promise(piece)
		if !ok {
			continue
		}
		if p, ok := r.has(o); !ok || p.missing() {
			r.promised(o, piece.Size)
		}
	}
	o := r.manifestObject(m.Digest)
	r.saw(o, int64(len(m.Raw)))
	r.rs.objects.update(o, func(p presence, ok bool) (presence, bool) {
		p.admitted = ok
		return p, ok
	})
	r.rs.manifests.Add(m.Digest, m)
}

// keep admits a manifest that came from the registry, and stores it in the cache.
func (r Repository) keep(m *registry.Manifest) {
	r.admit(m)
	if err := r.rs.o.Store.Put(m.Digest, m.Raw); err != nil {
		// The manifest is shown all the same. The next mount asks for it again.
		r.rs.log.Debug("manifest not cached", "digest", m.Digest, "cause", err)
	}
}
