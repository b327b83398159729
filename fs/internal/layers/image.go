package layers

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/rootfs"
	"github.com/ocifs/ocifs/registry"
)

// Image is the layers of one image manifest, or a single archive. It is safe for concurrent use.
type Image struct {
	layers *Layers
	config *v1.Descriptor // nil: no config promises diff IDs
	// hereOnly brings nothing; see Here.
	hereOnly bool
	// from is the layer from which a listing asks for all layers down; -1: none is known.
	from atomic.Int64
	// showed says of each layer that Layers.shown has it from this image.
	showed []atomic.Bool

	mu  sync.Mutex // guards the fields below
	all []Layer    // the lowest first
	// promised says that all have their diff IDs, or that nothing promises any.
	promised bool
}

var _ rootfs.Layers = (*Image)(nil)

// Image gives the layers of an image manifest of a repository. name is the image's, for a person.
// No request is sent.
func (s *Layers) Image(r known.Repository, m *registry.Manifest, name string) *Image {
	i := &Image{layers: s, config: m.Config, promised: m.Config == nil, all: make([]Layer, len(m.Layers)), showed: make([]atomic.Bool, len(m.Layers))}
	i.from.Store(-1)
	for n, d := range m.Layers {
		i.all[n] = Layer{Repository: r, Packed: d.Digest, Size: d.Size, URLs: d.URLs, Name: fmt.Sprintf("layer %d of %d of %s", n+1, len(m.Layers), name)}
	}
	return i
}

// Single gives one archive.
func (s *Layers) Single(l Layer) *Image {
	i := &Image{layers: s, promised: true, all: []Layer{l}, showed: make([]atomic.Bool, 1)}
	i.from.Store(-1)
	return i
}

// Len counts the layers.
func (i *Image) Len() int { return len(i.all) }

// At gives a layer. A request is sent for the config, if it isn't cached.
func (i *Image) At(ctx context.Context, n int) (Layer, error) {
	i.mu.Lock()
	promised, l := i.promised, i.all[n]
	i.mu.Unlock()
	if !known.CanBeAsked(l.Packed) {
		return Layer{}, l.wrap(fmt.Errorf("%s has an unknown algorithm: %w", l.Packed, registry.ErrUnsupported))
	}
	if promised {
		return l, nil
	}
	ids, err := i.diffIDs(ctx, l.Repository)
	if err != nil {
		return Layer{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for k, id := range ids {
		i.all[k].DiffID = id
	}
	i.promised = true
	return i.all[n], nil
}

// diffIDs gives the diff IDs in the config. They are kept as the index of the config, so that a tree
// that was seen costs no request when the config is evicted, as its layers are.
func (i *Image) diffIDs(ctx context.Context, r known.Repository) ([]digest.Digest, error) {
	if i.config.Size > registry.MaxManifest || !known.CanBeAsked(i.config.Digest) {
		return nil, fmt.Errorf("the image's config %s can't be read: %w", i.config.Digest, registry.ErrCorrupt)
	}
	ids, ok := i.layers.keptDiffIDs(i.config.Digest)
	if !ok {
		var err error
		if ids, err = i.readDiffIDs(ctx, r); err != nil {
			return nil, err
		}
		i.layers.keepDiffIDs(i.config.Digest, ids)
	}
	// There must be as many as layers, as runtimes have it.
	if len(ids) != len(i.all) {
		return nil, fmt.Errorf("%w: the manifest names %d layers, and the config %d", ErrDiffID, len(i.all), len(ids))
	}
	for _, id := range ids {
		if id.Validate() != nil {
			return nil, fmt.Errorf("%w: a diff ID in the config %s is no digest, but %q", ErrDiffID, i.config.Digest, id)
		}
	}
	return ids, nil
}

// readDiffIDs reads the config. A request is sent if it isn't cached.
func (i *Image) readDiffIDs(ctx context.Context, r known.Repository) ([]digest.Digest, error) {
	f, err := i.openConfig(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("the image's config: %w", err)
	}
	defer f.Close()
	var c v1.Image
	if err := json.NewDecoder(io.NewSectionReader(f, 0, f.Size())).Decode(&c); err != nil {
		return nil, fmt.Errorf("the image's config %s: %w: %w", i.config.Digest, err, registry.ErrCorrupt)
	}
	return c.RootFS.DiffIDs, nil
}

// keptDiffIDs gives the diff IDs of a config that was read before. ok is false if they aren't known.
func (s *Layers) keptDiffIDs(config digest.Digest) (ids []digest.Digest, ok bool) {
	f, err := s.o.Store.OpenIndex(config)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	err = json.NewDecoder(io.NewSectionReader(f, 0, f.Size())).Decode(&ids)
	return ids, err == nil
}

func (s *Layers) keepDiffIDs(config digest.Digest, ids []digest.Digest) {
	err := s.o.Store.PutIndex(config, func(w io.Writer) error { return json.NewEncoder(w).Encode(ids) })
	if err != nil {
		s.log.Warn("the diff IDs of an image aren't kept", "config", config, "cause", err)
	}
}

// besides is how many layers are unpacked beside the one that is waited for. Unpacking takes one
// processor each, and memory for one index.
const besides = 2

// Ahead says that the layers from n down will probably be asked for next. They are unpacked side
// by side.
func (i *Image) Ahead(n int) { i.from.Store(int64(n)) }

// listingKey is the key of Listing in a context.
type listingKey struct{}

// Listing gives the context of a listing, for which layers are unpacked side by side. A lookup at
// the same time asks for no layer below the one that decides.
func Listing(ctx context.Context) context.Context {
	return context.WithValue(ctx, listingKey{}, true)
}

func inListing(ctx context.Context) bool { return ctx.Value(listingKey{}) != nil }

// Layer gives the index of a layer.
func (i *Image) Layer(ctx context.Context, n int) (*rootfs.Index, error) {
	l, err := i.At(ctx, n)
	if err != nil {
		return nil, err
	}
	if i.hereOnly {
		return i.keptIndex(ctx, l)
	}
	if inListing(ctx) && int64(n) <= i.from.Load() {
		for k := n - 1; k >= 0 && k >= n-besides; k-- {
			i.unpackBeside(ctx, k)
		}
	}
	x, err := i.layers.Index(ctx, l)
	if err == nil && !i.showed[n].Load() {
		i.showed[n].Store(true)
		i.layers.shown.add(l)
	}
	return x, err
}

// unpackBeside unpacks a layer, while ctx lasts. Its error is that of the call that needs it.
func (i *Image) unpackBeside(ctx context.Context, n int) {
	l, err := i.At(ctx, n)
	if err != nil || i.layers.opened.Contains(l.Packed) {
		return
	}
	i.layers.beside.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				i.layers.o.Panicked(p, debug.Stack())
			}
		}()
		_, _ = i.layers.Index(ctx, l)
	})
}

// Packed gives the digest of a layer's blob.
func (i *Image) Packed(n int) digest.Digest { return i.all[n].Packed }

// Archive gives the unpacked bytes of a layer. The caller closes the archive.
func (i *Image) Archive(ctx context.Context, n int) (*Archive, error) {
	l, err := i.At(ctx, n)
	if err != nil {
		return nil, err
	}
	return i.layers.Archive(ctx, l)
}

// Kept gives the index of a layer that was unpacked before; nil: there is none.
func (i *Image) Kept(n int) *rootfs.Index { return i.layers.kept(i.all[n].Packed) }

// Doubt drops the index of a layer, because it can't be read. The layer is unpacked again when it
// is needed.
func (i *Image) Doubt(n int) {
	packed := i.all[n].Packed
	i.layers.log.Warn("the index of a layer can't be read, and is made anew", "layer", i.all[n].Name)
	i.layers.opened.Remove(packed)
	i.layers.o.Store.DropIndex(packed)
}
