package known

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

// Limits on the pieces that are reachable from one index. Real indexes have some dozens of
// children and are nested twice at most. For an image manifest the limits don't apply, because it
// can't have more layers than its bytes can name.
const (
	maxReachable = 20_000
	maxNesting   = 16
)

// Image is one manifest or index that a repository has shown to have. Like a Repository, an Image
// is only a name: the manifest comes from memory, from the cache, or from the registry.
type Image struct {
	Repository Repository
	Descriptor v1.Descriptor // of the manifest: media type, digest and size
}

// Image gives the image of a manifest.
func (r Repository) Image(m *registry.Manifest) Image { return Image{r, m.Descriptor()} }

// Closure has everything reachable from a manifest of a repository, with the manifest itself:
// each digest once, and nothing that the registry lacks. It doesn't change after it is made.
type Closure struct {
	Pieces []Piece
	at     map[digest.Digest]int // the index in Pieces of each digest
	until  time.Time             // the end of the belief in the registry's answers
}

// cost gives the size of a closure in bytes.
func (c *Closure) cost() int { return Overhead + len(c.Pieces)*256 }

// add adds a piece. If one digest is named both as a blob and as a manifest, the closure has it
// as the manifest, so that it also has what that manifest names.
func (c *Closure) add(p Piece) {
	k, twice := c.at[p.Digest]
	switch {
	case !twice:
		c.at[p.Digest] = len(c.Pieces)
		c.Pieces = append(c.Pieces, p)
	case p.Kind == ManifestPiece:
		c.Pieces[k] = p
	}
}

// Manifest gives the manifest.
func (i Image) Manifest(ctx context.Context) (*registry.Manifest, error) {
	return i.Repository.ShownManifest(ctx, i.Descriptor.Digest)
}

// self gives the image's own manifest as a piece.
func (i Image) self() Piece {
	return Piece{i.Descriptor.Digest, i.Descriptor.Size, i.Descriptor.MediaType, ManifestPiece}
}

func (i Image) key() digestKey {
	return digestKey{i.Repository.Repository, i.Descriptor.Digest}
}

// lastClosure gives the last closure if it is still believed; nil: there is none.
func (i Image) lastClosure() *Closure {
	rs := i.Repository.rs
	c := rs.closures.Get(i.key())
	if c == nil || !rs.now().Before(c.until) {
		return nil
	}
	return c
}

// Reachable gives the closure of the image. It sends a GET for each child of an index that isn't
// cached. Children that the registry lacks are left out. They are requested again when the denial
// has expired, because mirrors hold sparse indexes and fill them later.
func (i Image) Reachable(ctx context.Context) (*Closure, error) {
	if c := i.lastClosure(); c != nil {
		return c, nil
	}
	m, err := i.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	c := &Closure{at: map[digest.Digest]int{}}
	c.add(i.self())
	type question struct {
		digest digest.Digest
		kind   PieceKind
	}
	asked := map[question]bool{{i.Descriptor.Digest, ManifestPiece}: true}
	level, believed := []*registry.Manifest{m}, knownFor
	for depth := 0; len(level) > 0; depth++ {
		var next []Piece
		for _, of := range level {
			for p := range Pieces(of) {
				if m.IsIndex() && (len(c.Pieces)+len(next) >= maxReachable || depth > maxNesting) {
					return nil, fmt.Errorf("index %s names more than %d things or is nested deeper than %d: %w", i.Descriptor.Digest, maxReachable, maxNesting, registry.ErrCorrupt)
				}
				if q := (question{p.Digest, p.Kind}); !asked[q] {
					asked[q] = true
					next = append(next, p)
				}
			}
		}
		found, manifests, err := i.Repository.seekAll(ctx, next)
		if err != nil {
			return nil, err
		}
		level = level[:0]
		for k, p := range found {
			if p.Kind == AbsentPiece {
				believed = missingFor
				continue
			}
			c.add(p)
			if manifests[k] != nil {
				level = append(level, manifests[k])
			}
		}
	}
	rs := i.Repository.rs
	c.until = rs.now().Add(believed)
	rs.closures.Add(i.key(), c)
	return c, nil
}

// free says whether all pieces of a manifest are known to be there without a request.
func free(m *registry.Manifest) bool {
	for p := range Pieces(m) {
		if p.Kind != BlobPiece {
			return false
		}
	}
	return true
}

// Find gives the piece with a digest; ok is false if none is reachable. It looks at the manifest
// itself before it looks at everything reachable from it.
func (i Image) Find(ctx context.Context, d digest.Digest) (p Piece, ok bool, err error) {
	if d == i.Descriptor.Digest {
		return i.self(), true, nil
	}
	c := i.lastClosure()
	if c == nil {
		m, err := i.Manifest(ctx)
		if err != nil {
			return Piece{}, false, err
		}
		if !free(m) {
			if p, err := i.names(ctx, m, d); err != nil || p.Kind != AbsentPiece {
				return p, err == nil, err
			}
		}
		if c, err = i.Reachable(ctx); err != nil {
			return Piece{}, false, err
		}
	}
	if k, ok := c.at[d]; ok {
		return c.Pieces[k], true, nil
	}
	return Piece{}, false, nil
}

// names gives the piece with a digest that the manifest m itself names. As in Closure.add, a
// manifest is preferred to a blob.
func (i Image) names(ctx context.Context, m *registry.Manifest, d digest.Digest) (Piece, error) {
	best := Piece{}
	for p := range Pieces(m) {
		if p.Digest != d || best.Kind == ManifestPiece {
			continue
		}
		p, _, err := i.Repository.Seek(ctx, p)
		if err != nil {
			return Piece{}, err
		}
		if p.Kind != AbsentPiece {
			best = p
		}
	}
	return best, nil
}

// Uses says whether the image reaches a piece whose digest has the algorithm a.
func (i Image) Uses(ctx context.Context, a digest.Algorithm) (bool, error) {
	if i.Descriptor.Digest.Algorithm() == a {
		return true, nil
	}
	m, err := i.Manifest(ctx)
	if err != nil {
		return false, err
	}
	for p := range Pieces(m) {
		if p.Kind == BlobPiece && p.Digest.Algorithm() == a {
			return true, nil
		}
	}
	c, err := i.Reachable(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(c.Pieces, func(p Piece) bool { return p.Digest.Algorithm() == a }), nil
}
