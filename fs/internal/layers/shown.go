package layers

import (
	"context"
	"errors"
	"slices"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/rootfs"
	"github.com/ocifs/ocifs/registry"
)

const (
	// maxShown is of how many layers the repositories are remembered. Each takes some hundred
	// bytes for each repository.
	maxShown = 4096
	// maxShowing is how many repositories are remembered of a layer: the last ones. A base image is
	// in many, and a reader won't wait for more than a few that refuse.
	maxShowing = 4
)

// shown are the repositories that showed a layer. A file of a layer is one inode in all of them, so
// that a read doesn't say through which one the program came: each that showed the layer may give the
// bytes.
type shown struct {
	mu sync.Mutex // held while an entry of by is changed
	// by are the repositories, by the digest of the packed blob. No slice in it changes.
	by *lru.Cache[digest.Digest, []Layer]
}

func newShown() (*shown, error) {
	by, err := lru.New[digest.Digest, []Layer](maxShown)
	return &shown{by: by}, err
}

// add notes that the repository of a layer showed what is in it.
func (s *shown) add(l Layer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	by, _ := s.by.Get(l.Packed)
	by = slices.DeleteFunc(slices.Clone(by), func(other Layer) bool { return other.Repository.Repository == l.Repository.Repository })
	if by = append(by, l); len(by) > maxShowing {
		by = by[1:]
	}
	s.by.Add(l.Packed, by)
}

// ShownIndex is Layer for a file that this image or another one with the layer has shown. It asks the
// repositories that showed the layer, one after the other, while they don't have it any more.
func (i *Image) ShownIndex(ctx context.Context, n int) (x *rootfs.Index, err error) {
	err = i.asShown(ctx, n, func(l Layer) error {
		x, err = i.layers.Index(ctx, l)
		return err
	})
	return x, err
}

// ShownArchive gives the unpacked bytes of a layer, from whom ShownIndex gives the index. The caller
// closes the archive.
func (i *Image) ShownArchive(ctx context.Context, n int) (a *Archive, err error) {
	err = i.asShown(ctx, n, func(l Layer) error {
		a, err = i.layers.Archive(ctx, l)
		return err
	})
	return a, err
}

// asShown calls do with a layer as this image has it, and then as the other repositories have it that
// showed it, the last one first, until one gives it. The error is that of this image.
func (i *Image) asShown(ctx context.Context, n int, do func(Layer) error) error {
	l, err := i.At(ctx, n)
	if err == nil {
		err = do(l)
	}
	if !notGiven(err) {
		return err
	}
	own := i.all[n].Repository.Repository
	by, _ := i.layers.shown.by.Get(i.all[n].Packed)
	for _, other := range slices.Backward(by) {
		if ctx.Err() == nil && other.Repository.Repository != own && do(other) == nil {
			return nil
		}
	}
	return err
}

// notGiven says whether an error is of a repository that doesn't give a layer, so that another one may.
func notGiven(err error) bool {
	return errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrDenied) || registry.OutOfReach(err)
}
