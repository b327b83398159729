package layers

import (
	"context"
	"errors"
	"fmt"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/rootfs"
)

// ErrNotHere is the error of an image that brings nothing, for a layer whose index isn't kept, or
// for a config whose diff IDs aren't known.
var ErrNotHere = errors.New("it isn't in the cache")

// Here gives an image of the same layers that brings nothing: what isn't in the cache is
// ErrNotHere. It finds out what a program could read without a download.
func (i *Image) Here() *Image {
	i.mu.Lock()
	defer i.mu.Unlock()
	h := &Image{layers: i.layers, config: i.config, hereOnly: true, promised: i.promised, all: append([]Layer(nil), i.all...)}
	h.from.Store(-1)
	return h
}

// Has says whether a layer's index and its unpacked bytes are in the cache.
func (i *Image) Has(n int) bool {
	x := i.Kept(n)
	if x == nil {
		return false
	}
	a := i.layers.Cached(x.Meta())
	if a == nil {
		return false
	}
	a.Close()
	return true
}

// keptIndex gives the index of a layer, or ErrNotHere. A diff ID of another algorithm than the
// cache's isn't checked, as that may take a download.
func (i *Image) keptIndex(ctx context.Context, l Layer) (*rootfs.Index, error) {
	x := i.layers.kept(l.Packed)
	switch {
	case x == nil:
		return nil, l.wrap(ErrNotHere)
	case l.DiffID == "" || l.DiffID.Algorithm() != x.Meta().DiffID.Algorithm():
		return x, nil
	}
	if err := i.layers.check(ctx, l, x.Meta()); err != nil {
		return nil, l.wrap(err)
	}
	return x, nil
}

// openConfig opens the image's config. A request is sent if it isn't cached, unless the image brings
// nothing.
func (i *Image) openConfig(ctx context.Context, r known.Repository) (*cache.File, error) {
	if !i.hereOnly {
		return i.layers.o.Store.Get(ctx, r.Want(*i.config))
	}
	f, err := i.layers.o.Store.Open(i.config.Digest, i.config.Size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", i.config.Digest, ErrNotHere)
	}
	return f, nil
}
