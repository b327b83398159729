package known

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

// Piece is a part of an image that a manifest names: a child, a config or a layer.
type Piece struct {
	Digest    digest.Digest
	Size      int64 // in bytes
	MediaType string
	Kind      PieceKind
}

// PieceKind says how a registry has a piece. The place of the descriptor decides it: a layer is a
// blob, even if its media type is that of an index.
type PieceKind int

const (
	// AbsentPiece is a piece that the registry lacks.
	AbsentPiece PieceKind = iota
	// BlobPiece is a config or a layer. The manifest says that it is there.
	BlobPiece
	// ForeignPiece is a layer that the registry may lack; see registry.IsForeign.
	ForeignPiece
	// ManifestPiece is a child of an index. A sparse index names children that its registry
	// lacks.
	ManifestPiece
	// StrangePiece is a child of an index whose media type isn't that of a manifest, or a
	// layer whose media type is. BuildKit's caches name blobs in this way (BuildKit without
	// image-manifest=true, seen 2026). Others name manifests of unknown types.
	StrangePiece
)

// Pieces gives the pieces that a manifest names, in order. It leaves out those whose digest has
// an unknown algorithm, because nobody can ask for them.
func Pieces(m *registry.Manifest) iter.Seq[Piece] {
	return func(yield func(Piece) bool) {
		for _, d := range m.Manifests {
			if p := ChildPiece(d); CanBeAsked(d.Digest) && !yield(p) {
				return
			}
		}
		for _, d := range m.Blobs() {
			if p := LayerPiece(d); CanBeAsked(d.Digest) && !yield(p) {
				return
			}
		}
	}
}

// CanBeAsked says whether the algorithm of a digest from a manifest is known.
func CanBeAsked(d digest.Digest) bool { return ref.ValidAlgorithm(d.Algorithm().String()) }

// ChildPiece gives the piece that an index names among its manifests.
func ChildPiece(d v1.Descriptor) Piece {
	kind := StrangePiece
	if registry.IsManifestType(d.MediaType) {
		kind = ManifestPiece
	}
	return Piece{d.Digest, d.Size, d.MediaType, kind}
}

// LayerPiece gives the piece that a manifest names as its config or among its layers.
func LayerPiece(d v1.Descriptor) Piece {
	kind := BlobPiece
	switch {
	case registry.IsForeign(d):
		kind = ForeignPiece
	case registry.IsManifestType(d.MediaType):
		kind = StrangePiece
	}
	return Piece{d.Digest, d.Size, d.MediaType, kind}
}

// Descriptor gives the piece as a manifest names it.
func (p Piece) Descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: p.MediaType, Digest: p.Digest, Size: p.Size}
}

// promise gives the object that the repository has if one of its manifests names p. ok is false
// if only the registry can say whether it has it.
func (r Repository) promise(p Piece) (o object, ok bool) {
	switch p.Kind {
	case BlobPiece:
		return r.blobObject(p.Digest), true
	case ManifestPiece:
		return r.manifestObject(p.Digest), true
	}
	return object{}, false
}

// Seek finds out how the repository has a piece of one of its manifests. The kind of the result
// is BlobPiece, ManifestPiece or AbsentPiece. For a manifest, it also gives the manifest. A blob
// sends no request. A foreign layer and a strange piece send a HEAD once, and a manifest the GET
// that its bytes need anyway.
func (r Repository) Seek(ctx context.Context, p Piece) (Piece, *registry.Manifest, error) {
	kind := p.Kind
	if kind == ForeignPiece || kind == StrangePiece {
		has, err := r.hasBlob(ctx, p.Digest)
		switch {
		case err != nil:
			return p, nil, err
		case has:
			p.Kind = BlobPiece
		case kind == ForeignPiece:
			p.Kind = AbsentPiece
		default:
			p.Kind = ManifestPiece
		}
	}
	if p.Kind != ManifestPiece {
		return p, nil, nil
	}
	m, err := r.seekChild(ctx, p)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		p.Kind = AbsentPiece
		return p, nil, nil
	case err != nil:
		p.Kind = kind
	}
	return p, m, err
}

// seekAtOnce is how many pieces of one manifest are sought at the same time.
const seekAtOnce = 8

// seekAll seeks many pieces. After an error, pieces that weren't sought keep their kind.
func (r Repository) seekAll(ctx context.Context, ps []Piece) ([]Piece, []*registry.Manifest, error) {
	found, manifests := make([]Piece, len(ps)), make([]*registry.Manifest, len(ps))
	copy(found, ps)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(seekAtOnce)
	for k, p := range ps {
		if p.Kind == BlobPiece {
			continue
		}
		g.Go(func() error {
			return catch(r.rs.o.Panicked, func() (err error) {
				found[k], manifests[k], err = r.Seek(ctx, p)
				return err
			})
		})
	}
	return found, manifests, g.Wait()
}

// hasBlob says whether the repository has a blob that may be missing. If the registry is out of
// reach, its last answer counts.
func (r Repository) hasBlob(ctx context.Context, d digest.Digest) (bool, error) {
	_, err := r.probe(ctx, d)
	if err == nil {
		return true, nil
	}
	o := r.blobObject(d)
	if errors.Is(err, registry.ErrNotFound) || r.deniedBefore(o, err) {
		return false, nil
	}
	if _, ok := r.had(o, err); ok {
		return true, nil
	}
	return false, err
}

// seekChild gives a child of an index. A child that the registry denied moments ago isn't
// requested again.
func (r Repository) seekChild(ctx context.Context, p Piece) (*registry.Manifest, error) {
	o := r.manifestObject(p.Digest)
	if known, ok := r.has(o); ok && known.missing() {
		return nil, r.notFound(p.Digest)
	}
	m, err := r.Child(ctx, p.Descriptor())
	if err != nil && r.deniedBefore(o, err) {
		return nil, r.notFound(p.Digest)
	}
	return m, err
}

// NotDenied marks the pieces that the repository lacks as absent, for a directory that only names
// them. A manifest sends a HEAD once, because a GET counts as a pull at registries that limit
// pulls. If the registry can't be asked, the piece is listed.
func (r Repository) NotDenied(ctx context.Context, ps []Piece) ([]Piece, error) {
	found := slices.Clone(ps)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(seekAtOnce)
	for k, p := range ps {
		g.Go(func() error {
			return catch(r.rs.o.Panicked, func() error {
				if p.Kind != ManifestPiece {
					found[k], _, _ = r.Seek(gctx, p)
				} else if !r.askManifest(gctx, p.Digest) {
					found[k].Kind = AbsentPiece
				}
				return gctx.Err()
			})
		})
	}
	return found, g.Wait()
}

// askManifest says whether the repository has a manifest that an index names. It has it unless
// the registry denies that.
func (r Repository) askManifest(ctx context.Context, d digest.Digest) bool {
	o := r.manifestObject(d)
	if known, ok := r.has(o); ok && (known.missing() || known.asked) {
		return !known.missing()
	}
	res, err := r.rs.o.Client.ResolveManifest(ctx, r.Repository, d.String())
	switch {
	case errors.Is(err, registry.ErrNotFound):
		r.deny(o)
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
