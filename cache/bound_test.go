package cache

import (
	"bytes"
	"context"
	"io"
	"os"
	"testing"
)

func TestALargerThanTheStoreEvictsNothing(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 40_960})
	d := fill(t, s, content(1, 4096))
	fill(t, s, content(2, 204_800))
	if _, err := os.Stat(s.blob(d)); err != nil || s.Stats().Evictions != 0 {
		t.Errorf("%v, %+v", err, s.Stats())
	}
}

func TestTheBoundHoldsWhereSizesArentKnown(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 40_960})
	for i := range 30 {
		src := &source{b: content(byte(i), 4096)}
		w := src.want()
		w.Size = -1
		f := get(t, s, w)
		_ = f.Close()
		eventually(t, "below the bound", func() bool { return s.Stats().Bytes <= 40_960 })
	}
}

func TestTheBoundHoldsForDownloadsAtTheSameTime(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 40_960})
	all := make(chan struct{})
	var cs []<-chan outcome
	for i := range 10 {
		b := content(byte(i), 16_384)
		src := &source{b: b}
		w := src.want()
		w.Fetch = func(_ context.Context, off, _ int64) (io.ReadCloser, error) {
			<-all
			return io.NopCloser(bytes.NewReader(b[off:])), nil
		}
		cs = append(cs, start(t.Context(), s, w, 1))
	}
	eventually(t, "all are under way", func() bool { return len(s.Transfers()) == 10 })
	close(all)
	for _, c := range cs {
		o := <-c
		if o.err != nil {
			t.Fatal(o.err)
		}
		_ = o.f.Close()
	}
	eventually(t, "below the bound", func() bool { return s.Stats().Bytes <= 40_960 })
}

func TestTheBoundHoldsAgainOnceFilesAreClosed(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 40_960})
	var fs []*File
	for i := range 15 {
		src := &source{b: content(byte(i), 4096)}
		f := get(t, s, src.want())
		fs = append(fs, f)
	}
	for i, f := range fs { // open ones stay, though it is too much
		holds(t, f, content(byte(i), 4096))
		if _, err := os.Stat(s.blob(f.Digest())); err != nil {
			t.Errorf("unlinked while open: %v", err)
		}
	}
	for _, f := range fs {
		_ = f.Close()
	}
	if n := s.Stats().Bytes; n > 40_960 {
		t.Errorf("%d bytes", n)
	}
}

func TestACompletePartialOfUnknownSizeIsNoTrap(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	src := &source{b: content(1, 4096)}
	w := src.want()
	w.Size = -1
	w.Fetch = func(ctx context.Context, off, _ int64) (io.ReadCloser, error) {
		if off == 4096 {
			off++ // as a registry that answers 416
		}
		return src.fetch(ctx, off, -1)
	}
	leave(t, s, w.Digest, src.b)
	holds(t, get(t, s, w), src.b)
}

func TestAfterTheLastCloseNothingIsOpen(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	for i := range 200 {
		fill(t, s, content(byte(i), 10))
		eventually(t, "nothing is open", func() bool { return s.Stats().Open == 0 })
	}
}

func TestRoomIsMadeBeforeABlobComes(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 40_960})
	for i := range 9 {
		fill(t, s, content(byte(i), 4096))
	}
	w, let, _ := held(content(100, 16_384))
	c := start(t.Context(), s, w, 1)
	eventually(t, "it has room", func() bool { return s.Stats().Bytes <= 24_576 })
	if ts := s.Transfers(); len(ts) != 1 || ts[0].Done != 0 {
		t.Errorf("it was there before: %+v", ts)
	}
	close(let)
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	_ = o.f.Close()
}
