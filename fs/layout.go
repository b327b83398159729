package fs

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
)

// layoutBlobs is blobs/ of an image directory.
type layoutBlobs struct {
	place
	image *image
}

func (d *layoutBlobs) Attr() node.Attr { return d.dirAttr(d.image.id) }

func (d *layoutBlobs) algorithm(a digest.Algorithm) node.Child {
	return node.Child{Name: string(a), Entry: &layoutDigests{d.at(string(a)), d.image, a}, TTL: forever}
}

func (d *layoutBlobs) Lookup(ctx context.Context, name string) (node.Child, error) {
	if !ref.ValidAlgorithm(name) {
		return node.Child{}, node.ErrNotExist
	}
	used, err := d.image.Uses(ctx, digest.Algorithm(name))
	if err != nil {
		return node.Child{}, err
	}
	if !used {
		return node.Child{}, node.ErrNotExist
	}
	return d.algorithm(digest.Algorithm(name)), nil
}

func (d *layoutBlobs) List(ctx context.Context) (node.Listing, error) {
	c, err := d.image.Reachable(ctx)
	if err != nil {
		return node.Listing{}, err
	}
	var cs []node.Child
	for _, p := range c.Pieces {
		if a := p.Digest.Algorithm(); !slices.ContainsFunc(cs, func(c node.Child) bool { return c.Name == string(a) }) {
			cs = append(cs, d.algorithm(a))
		}
	}
	return node.List(cs), nil
}

// layoutDigests is blobs/<algo>/ of an image directory. It has exactly the pieces that are
// reachable from the manifest.
type layoutDigests struct {
	place
	image *image
	algo  digest.Algorithm
}

func (d *layoutDigests) Attr() node.Attr { return d.dirAttr(d.image.id) }

func (d *layoutDigests) blob(p known.Piece) node.Child {
	name := p.Digest.Encoded()
	return node.Child{Name: name, Entry: d.image.pieceFile(d.at(name), p), TTL: forever}
}

func (d *layoutDigests) Lookup(ctx context.Context, name string) (node.Child, error) {
	want, err := ref.NewDigest(string(d.algo), name)
	if err != nil {
		return node.Child{}, err
	}
	p, ok, err := d.image.Find(ctx, want)
	if err != nil {
		return node.Child{}, err
	}
	if !ok {
		return node.Child{}, node.ErrNotExist
	}
	return d.blob(p), nil
}

func (d *layoutDigests) List(ctx context.Context) (node.Listing, error) {
	c, err := d.image.Reachable(ctx)
	if err != nil {
		return node.Listing{}, err
	}
	var cs []node.Child
	for _, p := range c.Pieces {
		if p.Digest.Algorithm() == d.algo {
			cs = append(cs, d.blob(p))
		}
	}
	return node.List(cs), nil
}
