package layers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/rootfs"
)

// ErrDiffID is the error of an image whose layers aren't what its config promises.
var ErrDiffID = errors.New("what is unpacked isn't what the image's config promises")

// Options says how layers are unpacked. Store is required.
type Options struct {
	Store *cache.Store
	Guard *guard.Guard // nil: nothing is charged
	// MaxBytes is what one layer may unpack to, in bytes; 0: no bound.
	MaxBytes int64
	// Left reports what isn't shown of a layer that was just unpacked: the first entries, and
	// how many there are. Nil: nobody is told.
	Left func(l Layer, first []rootfs.Note, all int)
	// Panicked is told of a panic in a goroutine, with its stack.
	Panicked func(cause any, stack []byte)
	Logger   *slog.Logger // nil: silent
}

// Layer is an archive of a repository, as a manifest or a digest names it.
type Layer struct {
	Repository known.Repository
	Packed     digest.Digest
	Size       int64         // of the packed blob, in bytes
	URLs       []string      // where the packed blob is to be had if the repository lacks it; nil: nowhere
	DiffID     digest.Digest // what the unpacked bytes must have; "": nothing is promised
	// Name says which layer of which image it is, for a person.
	Name string
}

// Layers gives the indexes and the unpacked bytes of layers. It is safe for concurrent use.
type Layers struct {
	o   Options
	log *slog.Logger
	// opened are indexes that were used lately, by the digest of the packed blob.
	opened *lru.Cache[digest.Digest, *opened]
	// failed are layers that can't be unpacked, whoever asks, by the digest of the packed blob.
	failed *lru.Cache[digest.Digest, error]
	// checked are layers whose unpacked bytes were hashed for a diff ID of another algorithm
	// than the cache's, by that diff ID: the digest of the packed blob.
	checked *lru.Cache[digest.Digest, digest.Digest]
	shown   *shown
	// beside counts the goroutines that unpack layers beside others. Each ends with the call
	// that began it.
	beside   sync.WaitGroup
	archives archives
	turns    *turns
	// unpacked and unpackedBytes count what was unpacked since New.
	unpacked, unpackedBytes atomic.Int64

	stalledAfter, lookEvery time.Duration
}

const (
	// maxOpened is how many indexes are kept open. An image has up to some dozen layers. Each
	// takes a descriptor, and some hundred bytes of memory.
	maxOpened = 512
	// maxFailed and maxChecked bound what is remembered of layers. An entry takes some hundred
	// bytes.
	maxFailed  = 4096
	maxChecked = 4096
)

// New makes Layers.
func New(o Options) (*Layers, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Left == nil {
		o.Left = func(Layer, []rootfs.Note, int) {}
	}
	s := &Layers{o: o, log: o.Logger, turns: newTurns(atOnce), stalledAfter: stalledAfter, lookEvery: lookEvery}
	var errs [4]error
	s.opened, errs[0] = lru.NewWithEvict(maxOpened, func(_ digest.Digest, x *opened) { x.close() })
	s.failed, errs[1] = lru.New[digest.Digest, error](maxFailed)
	s.checked, errs[2] = lru.New[digest.Digest, digest.Digest](maxChecked)
	s.shown, errs[3] = newShown()
	return s, errors.Join(errs[:]...)
}

// Stats are the counts of Layers since New.
type Stats struct {
	Unpacked int64 `json:"unpacked"`       // layers that this process unpacked
	Bytes    int64 `json:"unpacked_bytes"` // that these layers have, unpacked
	// Unusable counts the layers that are remembered because they can't be unpacked, whoever asks.
	Unusable int `json:"unusable"`
}

// Stats gives the counts of this moment.
func (s *Layers) Stats() Stats {
	return Stats{s.unpacked.Load(), s.unpackedBytes.Load(), s.failed.Len()}
}

// Close closes the indexes and the archives that are open, after the calls of all other methods have returned.
func (s *Layers) Close() {
	s.beside.Wait()
	s.opened.Purge()
	s.archives.closeAll()
}

// Index gives what is in a layer. It unpacks the layer, unless that was done before. The download
// is charged to the payer of ctx.
func (s *Layers) Index(ctx context.Context, l Layer) (*rootfs.Index, error) {
	x, err := s.index(ctx, l)
	if err == nil {
		err = s.check(ctx, l, x.Meta())
	}
	if err != nil {
		return nil, l.wrap(err)
	}
	return x, nil
}

// wrap says of which layer an error is.
func (l Layer) wrap(err error) error { return fmt.Errorf("%s: %w", l.Name, err) }

func (s *Layers) index(ctx context.Context, l Layer) (*rootfs.Index, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if x := s.kept(l.Packed); x != nil {
		return x, nil
	}
	if err, ok := s.failed.Get(l.Packed); ok {
		return nil, err
	}
	f, x, err := s.unpack(ctx, l)
	if err != nil {
		return nil, err
	}
	f.Close()
	return x, nil
}

// Archive gives the unpacked bytes of a layer. It unpacks the layer again if they are gone. The
// caller closes the archive.
func (s *Layers) Archive(ctx context.Context, l Layer) (*Archive, error) {
	f, _, err := s.unpack(ctx, l)
	if err != nil {
		return nil, l.wrap(err)
	}
	return s.archives.add(f), nil
}

// Cached gives the unpacked bytes of a layer if they can be read at once; nil: they can't. The
// caller closes the archive.
func (s *Layers) Cached(m rootfs.Meta) *Archive {
	if a := s.archives.get(m.DiffID); a != nil {
		return a
	}
	f, err := s.o.Store.Open(m.DiffID, m.Size)
	if err != nil {
		return nil
	}
	return s.archives.add(f)
}

// check compares a layer with the diff ID that its image promises.
func (s *Layers) check(ctx context.Context, l Layer, m rootfs.Meta) error {
	got := m.DiffID
	switch {
	case l.DiffID == "" || l.DiffID == got:
		return nil
	case l.DiffID.Algorithm() == got.Algorithm():
		return fmt.Errorf("%w: %s, and it is %s", ErrDiffID, l.DiffID, got)
	}
	if of, ok := s.checked.Get(l.DiffID); ok && of == l.Packed {
		return nil
	}
	got, err := s.hashed(ctx, l, m)
	if err != nil {
		return err
	}
	if got != l.DiffID {
		return fmt.Errorf("%w: %s, and it is %s", ErrDiffID, l.DiffID, got)
	}
	s.checked.Add(l.DiffID, l.Packed)
	return nil
}

// hashed gives the digest of a layer's unpacked bytes, by the algorithm of its diff ID.
func (s *Layers) hashed(ctx context.Context, l Layer, m rootfs.Meta) (digest.Digest, error) {
	if !known.CanBeAsked(l.DiffID) {
		return "", fmt.Errorf("%w: %s has an unknown algorithm", ErrDiffID, l.DiffID)
	}
	a := s.Cached(m)
	if a == nil {
		var err error
		if a, err = s.Archive(ctx, l); err != nil {
			return "", err
		}
	}
	defer a.Close()
	h := l.DiffID.Algorithm().Hash()
	if _, err := io.Copy(h, &sequence{ctx: ctx, at: plain{a}, size: m.Size}); err != nil {
		return "", err
	}
	return digest.NewDigest(l.DiffID.Algorithm(), h), nil
}
