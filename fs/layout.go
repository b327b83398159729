package fs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// Bounds of the pieces that are reachable from one index. Real ones have some dozens of
// children and are nested twice at most. An image manifest isn't bounded by them: it has no
// more layers than its bytes can name.
const (
	maxReachable = 20_000
	maxNesting   = 16
)

// closure is all that is reachable from a manifest of a repository, itself included: each
// digest once, and nothing that the registry lacks.
type closure struct {
	pieces  []piece
	at      map[digest.Digest]int // the index of each in pieces
	expires time.Time             // the end of the time for which the registry's answers are believed
}

// closureKey tells closures apart.
type closureKey struct {
	repository ref.Repository
	digest     digest.Digest
}

// maxClosures is how many closures are kept in memory: a walk through a layout asks for one
// of them over and over.
const maxClosures = 8

// add takes in a piece. One digest may be named as a blob here and as a manifest there; the
// layout has it as the manifest, so that what that names is there as well.
func (c *closure) add(p piece) {
	k, twice := c.at[p.digest]
	switch {
	case !twice:
		c.at[p.digest] = len(c.pieces)
		c.pieces = append(c.pieces, p)
	case p.kind == manifestPiece:
		c.pieces[k] = p
	}
}

// self is the image's own manifest as a piece.
func (i *image) self() piece {
	return piece{i.desc.Digest, i.desc.Size, i.desc.MediaType, manifestPiece}
}

// lastClosure gives the closure that was made before and is still believed, or nil.
func (i *image) lastClosure() *closure {
	c, _ := i.tree.closures.Get(closureKey{i.repo.Repository, i.desc.Digest})
	if c == nil || !time.Now().Before(c.expires) {
		return nil
	}
	return c
}

// reachable gives the closure of the image, which costs a GET for each child of an index that
// isn't cached. Children that the registry lacks are left out, and asked for again when a
// denial is no longer believed: mirrors hold sparse indexes, and fill them later.
func (i *image) reachable(ctx context.Context) (*closure, error) {
	if c := i.lastClosure(); c != nil {
		return c, nil
	}
	m, err := i.load(ctx)
	if err != nil {
		return nil, err
	}
	c := &closure{at: map[digest.Digest]int{}}
	c.add(i.self())
	type question struct {
		digest digest.Digest
		kind   pieceKind
	}
	asked := map[question]bool{{i.desc.Digest, manifestPiece}: true}
	level, believed := []*registry.Manifest{m}, knownFor
	for depth := 0; len(level) > 0; depth++ {
		var next []piece
		for _, of := range level {
			for p := range pieces(of) {
				if m.IsIndex() && (len(c.pieces)+len(next) >= maxReachable || depth > maxNesting) {
					return nil, fmt.Errorf("index %s names more than %d things or is nested deeper than %d: %w", i.desc.Digest, maxReachable, maxNesting, registry.ErrCorrupt)
				}
				if q := (question{p.digest, p.kind}); !asked[q] {
					asked[q] = true
					next = append(next, p)
				}
			}
		}
		found, manifests, err := i.repo.seekAll(ctx, i.at(blobsName), next)
		if err != nil {
			return nil, err
		}
		level = level[:0]
		for k, p := range found {
			if p.kind == absentPiece {
				believed = missingFor
				continue
			}
			c.add(p)
			if manifests[k] != nil {
				level = append(level, manifests[k])
			}
		}
	}
	c.expires = time.Now().Add(believed)
	i.tree.closures.Add(closureKey{i.repo.Repository, i.desc.Digest}, c)
	return c, nil
}

// free says whether nothing need be asked to know what is reachable from a manifest.
func free(m *registry.Manifest) bool {
	for p := range pieces(m) {
		if p.kind != blobPiece {
			return false
		}
	}
	return true
}

// find gives the piece with a digest, or errNotExist. The manifest itself comes first, and
// then all that is reachable from it.
func (i *image) find(ctx context.Context, d digest.Digest) (piece, error) {
	if d == i.desc.Digest {
		return i.self(), nil
	}
	c := i.lastClosure()
	if c == nil {
		m, err := i.load(ctx)
		if err != nil {
			return piece{}, err
		}
		if !free(m) {
			if p, err := i.names(ctx, m, d); err != nil || p.kind != absentPiece {
				return p, err
			}
		}
		if c, err = i.reachable(ctx); err != nil {
			return piece{}, err
		}
	}
	if k, ok := c.at[d]; ok {
		return c.pieces[k], nil
	}
	return piece{}, errNotExist
}

// names gives the piece with a digest that the manifest m itself names: as a manifest rather
// than as a blob, as in closure.add.
func (i *image) names(ctx context.Context, m *registry.Manifest, d digest.Digest) (piece, error) {
	best := piece{}
	for p := range pieces(m) {
		if p.digest != d || best.kind == manifestPiece {
			continue
		}
		p, _, err := i.repo.seek(ctx, i.at(blobsName), p)
		if err != nil {
			return piece{}, err
		}
		if p.kind != absentPiece {
			best = p
		}
	}
	return best, nil
}

// uses says whether a piece whose digest has an algorithm is reachable from the image.
func (i *image) uses(ctx context.Context, a digest.Algorithm) (bool, error) {
	if i.desc.Digest.Algorithm() == a {
		return true, nil
	}
	m, err := i.load(ctx)
	if err != nil {
		return false, err
	}
	for p := range pieces(m) {
		if p.kind == blobPiece && p.digest.Algorithm() == a {
			return true, nil
		}
	}
	c, err := i.reachable(ctx)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(c.pieces, func(p piece) bool { return p.digest.Algorithm() == a }), nil
}

// layoutDir is blobs/ of an image directory.
type layoutDir struct {
	place
	image *image
}

func (d *layoutDir) stat() stat { return d.dirStat(d.image.id) }

func (d *layoutDir) algorithm(a digest.Algorithm) child {
	return child{string(a), &layoutBlobs{d.at(string(a)), d.image, a}, forever}
}

func (d *layoutDir) lookup(ctx context.Context, name string) (child, error) {
	if !ref.ValidAlgorithm(name) {
		return child{}, errNotExist
	}
	used, err := d.image.uses(ctx, digest.Algorithm(name))
	if err != nil {
		return child{}, err
	}
	if !used {
		return child{}, errNotExist
	}
	return d.algorithm(digest.Algorithm(name)), nil
}

func (d *layoutDir) list(ctx context.Context) (listing, error) {
	c, err := d.image.reachable(ctx)
	if err != nil {
		return listing{}, err
	}
	var cs []child
	for _, p := range c.pieces {
		if a := p.digest.Algorithm(); !slices.ContainsFunc(cs, func(c child) bool { return c.name == string(a) }) {
			cs = append(cs, d.algorithm(a))
		}
	}
	return listChildren(cs), nil
}

// layoutBlobs is blobs/<algo>/ of an image directory: exactly what is reachable
// from the manifest.
type layoutBlobs struct {
	place
	image *image
	algo  digest.Algorithm
}

func (d *layoutBlobs) stat() stat { return d.dirStat(d.image.id) }

func (d *layoutBlobs) blob(p piece) child {
	name := p.digest.Encoded()
	if p.kind == manifestPiece {
		return child{name, d.image.manifestFile(d.at(name), p.descriptor()), forever}
	}
	return child{name, &blobFile{d.at(name), d.image.repo, p.digest, p.size, d.image.mtime, p.mediaType}, forever}
}

func (d *layoutBlobs) lookup(ctx context.Context, name string) (child, error) {
	want, err := ref.NewDigest(string(d.algo), name)
	if err != nil {
		return child{}, err
	}
	p, err := d.image.find(ctx, want)
	if err != nil {
		return child{}, err
	}
	return d.blob(p), nil
}

func (d *layoutBlobs) list(ctx context.Context) (listing, error) {
	c, err := d.image.reachable(ctx)
	if err != nil {
		return listing{}, err
	}
	var cs []child
	for _, p := range c.pieces {
		if p.digest.Algorithm() == d.algo {
			cs = append(cs, d.blob(p))
		}
	}
	return listChildren(cs), nil
}
