package fs

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// piece is a part of an image that a manifest names: a child, a config or a layer.
type piece struct {
	digest    digest.Digest
	size      int64 // in bytes
	mediaType string
	kind      pieceKind
}

// pieceKind tells how a registry has a piece. The place of the descriptor decides it: a layer
// is a blob, even one that is typed as an index.
type pieceKind int

const (
	// absentPiece is a piece that the registry lacks.
	absentPiece pieceKind = iota
	// blobPiece is a config or a layer: the manifest says that it is there.
	blobPiece
	// foreignPiece is a layer that the registry may lack; see registry.IsForeign.
	foreignPiece
	// manifestPiece is a child of an index. A sparse index names some that its registry lacks.
	manifestPiece
	// strangePiece is a child of an index whose media type is no manifest's, or a layer whose
	// media type is one's. BuildKit's caches name blobs so (BuildKit without
	// image-manifest=true, seen 2026), others manifests of kinds that aren't known here.
	strangePiece
)

// pieces gives the pieces that a manifest names, in order, without those whose digest has an
// unknown algorithm: nobody can ask for them.
func pieces(m *registry.Manifest) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		for _, d := range m.Manifests {
			if p := childPiece(d); canBeAsked(d.Digest) && !yield(p) {
				return
			}
		}
		for _, d := range m.Blobs() {
			if p := layerPiece(d); canBeAsked(d.Digest) && !yield(p) {
				return
			}
		}
	}
}

// canBeAsked says whether the algorithm of a digest from a manifest is known.
func canBeAsked(d digest.Digest) bool { return ref.ValidAlgorithm(d.Algorithm().String()) }

// childPiece is a piece that an index names among its manifests.
func childPiece(d v1.Descriptor) piece {
	kind := strangePiece
	if registry.IsManifestType(d.MediaType) {
		kind = manifestPiece
	}
	return piece{d.Digest, d.Size, d.MediaType, kind}
}

// layerPiece is a piece that a manifest names as its config or among its layers.
func layerPiece(d v1.Descriptor) piece {
	kind := blobPiece
	switch {
	case registry.IsForeign(d):
		kind = foreignPiece
	case registry.IsManifestType(d.MediaType):
		kind = strangePiece
	}
	return piece{d.Digest, d.Size, d.MediaType, kind}
}

// promised gives the object that a repository has by the word of a manifest that names p.
// ok is false if only the registry can tell.
func (p piece) promised() (o object, ok bool) {
	switch p.kind {
	case blobPiece:
		return blobObject(p.digest), true
	case manifestPiece:
		return manifestObject(p.digest), true
	}
	return object{}, false
}

func (p piece) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: p.mediaType, Digest: p.digest, Size: p.size}
}

// seek asks how the repository has a piece of one of its manifests: the kind of the answer
// is blobPiece, manifestPiece or absentPiece. A manifest comes along. A blob costs nothing,
// a foreign layer and a strange piece a HEAD once, a manifest the GET that its bytes need
// anyway. at is the directory that shows the piece.
func (r *repository) seek(ctx context.Context, at place, p piece) (piece, *registry.Manifest, error) {
	kind := p.kind
	if kind == foreignPiece || kind == strangePiece {
		has, err := r.hasBlob(ctx, at, p.digest)
		switch {
		case err != nil:
			return p, nil, err
		case has:
			p.kind = blobPiece
		case kind == foreignPiece:
			p.kind = absentPiece
		default:
			p.kind = manifestPiece
		}
	}
	if p.kind != manifestPiece {
		return p, nil, nil
	}
	m, err := r.seekChild(ctx, p)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		p.kind = absentPiece
		return p, nil, nil
	case err != nil:
		p.kind = kind
	}
	return p, m, err
}

// seekAtOnce is how many pieces of one manifest are sought at the same time.
const seekAtOnce = 8

// seekAll is seek of many. After an error, pieces that weren't sought in time keep their kind.
func (r *repository) seekAll(ctx context.Context, at place, ps []piece) ([]piece, []*registry.Manifest, error) {
	found, manifests := make([]piece, len(ps)), make([]*registry.Manifest, len(ps))
	copy(found, ps)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(seekAtOnce)
	for k, p := range ps {
		if p.kind == blobPiece {
			continue
		}
		g.Go(func() (err error) {
			found[k], manifests[k], err = r.seek(ctx, at, p)
			return err
		})
	}
	return found, manifests, g.Wait()
}

// hasBlob says whether the repository has a blob that isn't sure to be there. Where the
// registry is out of reach, its last word counts.
func (r *repository) hasBlob(ctx context.Context, at place, d digest.Digest) (bool, error) {
	_, err := r.probe(ctx, d)
	if err == nil {
		return true, nil
	}
	if errors.Is(err, registry.ErrNotFound) || r.deniedBefore(blobObject(d), err) {
		return false, nil
	}
	if _, ok := r.had(ctx, at, blobObject(d), err); ok {
		return true, nil
	}
	return false, err
}

// seekChild gives a child of an index. A child that the registry denied a moment ago isn't
// asked for again.
func (r *repository) seekChild(ctx context.Context, p piece) (*registry.Manifest, error) {
	o := manifestObject(p.digest)
	if known, ok := r.known.has(o); ok && known.missing {
		return nil, notFound(r, p.digest)
	}
	m, err := r.child(ctx, p.descriptor())
	if err != nil && r.deniedBefore(o, err) {
		return nil, notFound(r, p.digest)
	}
	return m, err
}

// notDenied marks as absent the pieces that the repository lacks, for a directory that
// only names them. A manifest costs a HEAD once: a GET counts as a pull at registries that
// limit those. Where the registry can't be asked, a piece is listed.
func (r *repository) notDenied(ctx context.Context, at place, ps []piece) ([]piece, error) {
	found := slices.Clone(ps)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(seekAtOnce)
	for k, p := range ps {
		g.Go(func() error {
			if p.kind != manifestPiece {
				found[k], _, _ = r.seek(gctx, at, p)
			} else if !r.hasManifest(gctx, p.digest) {
				found[k].kind = absentPiece
			}
			return gctx.Err()
		})
	}
	return found, g.Wait()
}

// hasManifest says whether the repository has a manifest that an index names: it does until
// the registry denies that.
func (r *repository) hasManifest(ctx context.Context, d digest.Digest) bool {
	o := manifestObject(d)
	if known, ok := r.known.has(o); ok && (known.missing || known.answered) {
		return !known.missing
	}
	res, err := r.tree.client.ResolveManifest(ctx, r.Repository, d.String())
	switch {
	case errors.Is(err, registry.ErrNotFound):
		r.known.denied(o)
		return false
	case err != nil:
		return !r.deniedBefore(o, err)
	case res.Manifest != nil:
		r.keep(res.Manifest)
	default:
		r.saw(o, -1)
	}
	return true
}

// deniedBefore says whether a registry that is out of reach now, as err says, denied o when
// it was last asked.
func (r *repository) deniedBefore(o object, err error) bool {
	told, ok := r.known.told(o)
	return ok && told.missing && registry.OutOfReach(err)
}
