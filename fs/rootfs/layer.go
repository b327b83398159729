package rootfs

import (
	"context"
)

// LayerError is the error of one layer of a Tree: Layers doesn't give it, or its index can't be
// read. Its text is that of Err, which Layers makes for a person.
type LayerError struct {
	Layer int // the number of the layer in Layers
	Err   error
}

func (e *LayerError) Error() string { return e.Err.Error() }
func (e *LayerError) Unwrap() error { return e.Err }

// layerIndex is the index of layer n. Its errors are LayerErrors.
type layerIndex struct {
	index *Index
	n     int
}

// layer gives the index of layer n.
func (t *Tree) layer(ctx context.Context, n int) (layerIndex, error) {
	// A layer that is at hand comes without a look at ctx.
	if err := ctx.Err(); err != nil {
		return layerIndex{}, err
	}
	x, err := t.layers.Layer(ctx, n)
	return layerIndex{x, n}, ofLayer(n, err)
}

func ofLayer(n int, err error) error {
	if err == nil {
		return nil
	}
	return &LayerError{Layer: n, Err: err}
}

func (x layerIndex) lookup(dir Ino, name string) (Ino, bool, error) {
	i, ok, err := x.index.Lookup(dir, name)
	return i, ok, ofLayer(x.n, err)
}

func (x layerIndex) list(dir Ino) ([]Name, error) {
	names, err := x.index.List(dir)
	return names, ofLayer(x.n, err)
}

func (x layerIndex) attr(i Ino) (Attr, error) {
	a, err := x.index.Attr(i)
	return a, ofLayer(x.n, err)
}

func (x layerIndex) target(i Ino) (string, error) {
	target, err := x.index.Target(i)
	return target, ofLayer(x.n, err)
}
