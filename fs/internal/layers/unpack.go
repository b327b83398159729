package layers

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/rootfs"
	"github.com/ocifs/ocifs/registry"
)

// unpack unpacks a layer, unless the cache has the unpacked bytes and their index. The caller
// closes the file.
func (s *Layers) unpack(ctx context.Context, l Layer) (*cache.File, *rootfs.Index, error) {
	u := &unpacking{layers: s, layer: l, charge: s.o.Guard.Charge(guard.PayerIn(ctx), l.Size)}
	var f *cache.File
	moving, size := []digest.Digest{l.Packed}, int64(-1)
	if d, n, ok := u.known(); ok {
		moving, size = append(moving, d), n
	}
	err := s.patiently(ctx, moving, func(ctx context.Context) (err error) {
		f, err = s.o.Store.Make(ctx, cache.Making{
			Of: l.Packed, Size: size, From: l.Repository.String(),
			Known: u.known, Write: u.write, Made: u.made,
		})
		return err
	})
	u.charge.Settle(ctx, err)
	if errors.Is(err, guard.ErrOverdrawn) && !u.charge.Refused() {
		// The refusal is that of another job, which began the unpacking.
		return s.unpack(ctx, l)
	}
	if err != nil {
		return nil, nil, err
	}
	x := s.kept(l.Packed)
	if x == nil { // another process made it, and its index is gone by now
		x, err = s.indexOf(l, f)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, x, nil
}

// unpacking is one unpacking of a layer. write and then made are called by the one goroutine that
// unpacks, which may live longer than the call of unpack that began it.
type unpacking struct {
	layers *Layers
	layer  Layer
	charge *guard.Charge
	found  *rootfs.Scanned // what write found, for made
}

// known gives the digest and the size of the unpacked bytes, if the layer was unpacked before.
func (u *unpacking) known() (digest.Digest, int64, bool) {
	x := u.layers.kept(u.layer.Packed)
	if x == nil {
		return "", 0, false
	}
	return x.Meta().DiffID, x.Meta().Size, true
}

// write downloads, verifies, unpacks and scans the packed blob, in one pass. When it gives no
// error, all bytes of the blob have matched its digest.
func (u *unpacking) write(ctx context.Context, w io.Writer, raw io.ReaderAt) error {
	l := u.layer
	if l.Size == 0 && l.Packed != l.Packed.Algorithm().FromBytes(nil) {
		return fmt.Errorf("%s can't be of 0 bytes, as was promised: %w", l.Packed, registry.ErrCorrupt)
	}
	give, err := u.layers.turns.take(ctx, l.Packed)
	if err != nil {
		return err
	}
	defer give()
	want := l.Repository.Want(v1.Descriptor{Digest: l.Packed, Size: l.Size, URLs: l.URLs})
	want.Begin = u.charge.Begin
	packed := u.layers.o.Store.Stream(want)
	defer packed.Close()
	ctx, cancel := context.WithCancel(ctx)
	p := startPump(func(emit func(io.Reader) error) error {
		unpacked, err := rootfs.Unpack(&sequence{ctx: ctx, at: packed, size: l.Size}, rootfs.Limits{Bytes: u.layers.o.MaxBytes, Packed: l.Size})
		if err != nil {
			return err
		}
		defer unpacked.Close()
		return emit(unpacked)
	}, u.layers.o.Panicked)
	defer p.close()
	defer cancel() // or the pump would wait for a download that nobody needs
	u.found, err = rootfs.Scan(&tee{from: p, to: w}, raw)
	return u.blame(ctx, packed, err)
}

// blame gives the error of an unpacking that failed by err. What the unpacking says of a blob counts
// if all of the blob matches its digest: the bytes may be wrong that came so far. A blob for which no
// image promises a diff ID may be anything, a model of many GiB too: all of it isn't downloaded just
// to say that it is no archive.
func (u *unpacking) blame(ctx context.Context, packed *cache.Stream, err error) error {
	none := errors.Is(err, rootfs.ErrNoArchive)
	if !none && !errors.Is(err, rootfs.ErrCorrupt) && !errors.Is(err, rootfs.ErrTooLarge) {
		return err
	}
	l := u.layer
	if none && l.DiffID == "" {
		f, missing := u.layers.o.Store.Open(l.Packed, l.Size)
		if missing == nil {
			f.Close()
			u.layers.failed.Add(l.Packed, err)
		}
		return err
	}
	// The last byte is shown when all have matched.
	if _, wrong := packed.ReadAt(ctx, make([]byte, 1), l.Size-1); wrong != nil && !errors.Is(wrong, io.EOF) {
		return wrong
	}
	u.layers.failed.Add(l.Packed, err)
	return err
}

// made keeps the index, and lets the packed blob go before others. An index that the cache can't keep
// is in a file without a name, while it is among those that are used.
func (u *unpacking) made(d digest.Digest, size int64) error {
	s, packed := u.layers, u.layer.Packed
	m := rootfs.Meta{Packed: packed, DiffID: d, Size: size}
	err := s.o.Store.PutIndex(packed, func(w io.Writer) error { return u.found.Encode(w, m) })
	switch {
	case errors.Is(err, rootfs.ErrTooLarge):
		s.failed.Add(packed, err)
		return err
	case err != nil:
		s.log.Warn("the index of a layer isn't kept", "layer", u.layer.Name, "cause", err)
		if _, err := s.hold(u.found, m); err != nil {
			return err
		}
	default:
		s.o.Store.Demote(packed)
	}
	s.unpacked.Add(1)
	s.unpackedBytes.Add(size)
	if x := s.kept(packed); x != nil {
		s.report(u.layer, x)
	}
	return nil
}

// indexOf gives the index of a layer whose unpacked bytes are in f.
func (s *Layers) indexOf(l Layer, f *cache.File) (*rootfs.Index, error) {
	found, err := rootfs.Scan(io.NewSectionReader(f, 0, f.Size()), f)
	if err != nil {
		return nil, err
	}
	return s.hold(found, rootfs.Meta{Packed: l.Packed, DiffID: f.Digest(), Size: f.Size()})
}

// hold gives an index a file that is kept nowhere.
func (s *Layers) hold(found *rootfs.Scanned, m rootfs.Meta) (*rootfs.Index, error) {
	f, err := s.o.Store.UnnamedIndex(func(w io.Writer) error { return found.Encode(w, m) })
	if err != nil {
		return nil, err
	}
	o := &opened{store: s.o.Store, of: m.Packed, file: f}
	if o.index, err = rootfs.Open(o, f.Size()); err != nil {
		f.Close()
		return nil, err
	}
	s.opened.Remove(m.Packed) // whose file is closed then
	s.opened.Add(m.Packed, o)
	return o.index, nil
}

// report tells what isn't shown of a layer that was just unpacked.
func (s *Layers) report(l Layer, x *rootfs.Index) {
	first, all, err := x.Notes()
	if err == nil && all > 0 {
		s.o.Left(l, first, all)
	}
}

// readerAt reads at an offset, and waits no longer than ctx.
type readerAt interface {
	ReadAt(ctx context.Context, p []byte, off int64) (int, error)
}

// plain is an io.ReaderAt that doesn't wait.
type plain struct{ io.ReaderAt }

func (p plain) ReadAt(ctx context.Context, b []byte, off int64) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return p.ReaderAt.ReadAt(b, off)
}

// sequence reads from start to end, in large pieces.
type sequence struct {
	ctx  context.Context
	at   readerAt
	size int64
	off  int64
}

func (a *sequence) Read(p []byte) (int, error) {
	if a.off == a.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), a.size-a.off)]
	n, err := a.at.ReadAt(a.ctx, p, a.off)
	a.off += int64(n)
	switch {
	case n > 0:
		return n, nil
	case err == nil || errors.Is(err, io.EOF):
		return 0, io.ErrUnexpectedEOF
	}
	return 0, err
}
