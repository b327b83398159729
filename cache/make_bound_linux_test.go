package cache

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/failingdisk"
)

// sizes are what a caller may know of the size of what is made.
var sizes = map[string]func(n int) int64{
	"size known":   func(n int) int64 { return int64(n) },
	"size unknown": func(int) int64 { return -1 },
}

// The bound holds while blobs are made, and not much more goes than is needed.
func TestTheBoundHoldsWhileBlobsAreMade(t *testing.T) {
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{MaxBytes: 16 << 20})
			for i := range 15 {
				fill(t, s, content(byte(i), 1<<20))
			}
			m := makerOf(content(100, 4<<20))
			m.let = make(chan struct{})
			want := m.want()
			want.Size = size(len(m.b))
			c := startMaking(t.Context(), s, want, 1)
			eventually(t, "half of it is made", func() bool { return s.Progress(m.of) == 2<<20 })
			if n := onDisk(t, s); n > 16<<20 || s.Stats().Entries < 10 {
				t.Errorf("meanwhile %d bytes are taken: %+v", n, s.Stats())
			}
			s.scan() // which counts what is made once
			if sums := s.ledger.sums(); sums.left != 0 || sums.used() > 16<<20 {
				t.Errorf("counted are %+v", sums)
			}
			close(m.let)
			o := <-c
			if o.err != nil {
				t.Fatal(o.err)
			}
			holds(t, o.f, m.b)
			_ = o.f.Close()
			madeSettled(t, s)
			if st := s.Stats(); st.Entries < 10 || st.Evictions == 0 || onDisk(t, s) > 16<<20 {
				t.Errorf("%d bytes are taken: %+v", onDisk(t, s), st)
			}
			countedAsOnDisk(t, s)
			if _, err := os.Stat(s.blob(digest.FromBytes(m.b))); err != nil {
				t.Error(err)
			}
		})
	}
}

// A made blob that is larger than the bound is served while it is open, and then kept nowhere. Where
// its size is known before, no other blob goes for it.
func TestWhatIsMadeLargerThanTheBoundIsServedAndNotKept(t *testing.T) {
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{MaxBytes: 1 << 20})
			d := fill(t, s, content(1, 100_000))
			m := makerOf(content(100, 3<<20))
			want := m.want()
			want.Size = size(len(m.b))
			f := made(t, s, want)
			holds(t, f, m.b)
			if len(files(t, s.partials())) != 0 {
				t.Errorf("left: %q", files(t, s.partials()))
			}
			_, err := os.Stat(s.blob(d))
			if want.Size >= 0 && err != nil {
				t.Errorf("the other: %v", err)
			}
			holds(t, f, m.b)
			_ = f.Close()
			if sums := s.ledger.sums(); sums.used() != onDisk(t, s) || sums.pinned != 0 {
				t.Errorf("counted are %+v", sums)
			}
			holds(t, made(t, s, want), m.b) // again
			if m.makes.Load() != 2 {
				t.Errorf("made %d times", m.makes.Load())
			}
		})
	}
}

// A full disk fails a making after all that can go went, and nothing of it is left.
func TestAMakingOnAFullDiskIsNoSpace(t *testing.T) {
	for name, size := range sizes {
		t.Run(name, func(t *testing.T) {
			s := open(t, disk(t, "2m"), Options{})
			fill(t, s, content(1, 100_000))
			m := makerOf(content(100, 4<<20))
			want := m.want()
			want.Size = size(len(m.b))
			if f, err := s.Make(t.Context(), want); !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) || f != nil {
				t.Errorf("got %v, %v", f, err)
			}
			if left := files(t, s.partials()); len(left) > 0 || m.told.Load() != 0 {
				t.Errorf("left: %q, told %d times", left, m.told.Load())
			}
			if sums := s.ledger.sums(); sums.reserved != 0 || sums.used() != onDisk(t, s) {
				t.Errorf("counted are %+v", sums)
			}
			small := makerOf(content(2, 100<<10))
			holds(t, made(t, s, small.want()), small.b) // what fits is made
		})
	}
}

// A disk that someone else fills while a blob is made, or an index is written, has room once others
// go.
func TestAMakingIsTriedAgainOnADiskThatFills(t *testing.T) {
	dir := disk(t, "32m")
	s := open(t, dir, Options{MaxBytes: 1 << 30})
	for i := range 20 {
		fill(t, s, content(byte(i), 1<<20))
	}
	other := newBallast(t, dir)
	m := makerOf(content(100, 2<<20))
	want := m.want()
	want.Size = -1
	want.Write = func(_ context.Context, w io.Writer, _ io.ReaderAt) error {
		if _, err := w.Write(m.b[:1<<20]); err != nil {
			return err
		}
		other.fill()
		_, err := w.Write(m.b[1<<20:])
		return err
	}
	f := made(t, s, want)
	holds(t, f, m.b)
	_ = f.Close()
	of := digest.FromString("a layer")
	other.fill()
	putIndex(t, s, of, content(3, 500<<10))
	indexHolds(t, s, of, content(3, 500<<10))
	if st := s.Stats(); st.MakeFailures != 0 || st.Evictions == 0 || st.Entries < 12 {
		t.Errorf("stats: %+v", st)
	}
}

// Where the directory can't be written, what is made is served while it is open, and kept again
// when the directory is well.
func TestAMakingIsServedAroundADirectoryThatFails(t *testing.T) {
	for name, fail := range map[string]func(t *testing.T, s *Store) (mend func()){
		"read-only":          func(t *testing.T, s *Store) func() { return readOnly(t, s.dir) },
		"no place for parts": func(t *testing.T, s *Store) func() { return inTheWay(t, s.partials()) },
		"no place for blobs": func(t *testing.T, s *Store) func() { return inTheWay(t, s.blobs()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			s := open(t, filepath.Join(t.TempDir(), "cache"), Options{Logger: slog.New(slog.DiscardHandler)})
			mend := fail(t, s)
			m := makerOf(content(1, 300<<10))
			f := made(t, s, m.want())
			holds(t, f, m.b)
			_ = f.Close()
			if s.Stats().Trouble == "" {
				t.Error("no trouble is told")
			}
			mend()
			_ = made(t, s, m.want()).Close()
			holds(t, made(t, s, m.want()), m.b)
			if m.makes.Load() != 2 || s.Stats().Trouble != "" || len(files(t, s.blobs())) != 1 {
				t.Errorf("made %d times; %+v", m.makes.Load(), s.Stats())
			}
			if left := files(t, s.partials()); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// What was made is a blob: where the disk can't read it, it is set aside and made again.
func TestAMadeBlobThatCantBeReadIsMadeAgain(t *testing.T) {
	disk := failingdisk.Mount(t)
	s := open(t, filepath.Join(disk.Dir, "cache"), Options{})
	m := makerOf(content(4, 100_000))
	_ = made(t, s, m.want()).Close() // the disk hands out another file by name
	f := made(t, s, m.want())
	disk.FailReads(f.Digest())
	if _, err := f.ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrUnreadable) {
		t.Errorf("the read: %v", err)
	}
	disk.Mend()
	holds(t, made(t, s, m.want()), m.b)
	if m.makes.Load() != 2 || s.Stats().Quarantined != 1 {
		t.Errorf("made %d times; %+v", m.makes.Load(), s.Stats())
	}
}

// An index that the disk can't read is none.
func TestAnIndexThatCantBeReadIsNone(t *testing.T) {
	disk := failingdisk.Mount(t)
	s := open(t, filepath.Join(disk.Dir, "cache"), Options{})
	of := digest.FromString("a layer")
	putIndex(t, s, of, content(1, 5000))
	indexHolds(t, s, of, content(1, 5000))
	disk.FailReads(of)
	noIndex(t, s, of)
	disk.Mend()
	noIndex(t, s, of) // it was removed
}

// A blob that the disk damages again and again is made elsewhere, and not kept for a while.
func TestASpoiledBlobIsMadeElsewhere(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := open(t, t.TempDir(), Options{})
	m := makerOf(content(4, 100_000))
	for range spoilAfter {
		f := made(t, s, m.want())
		_ = f.Close()
		s.setAside(f.Digest(), nil, "a test")
	}
	holds(t, made(t, s, m.want()), m.b)
	if left := append(files(t, s.blobs()), files(t, s.partials())...); len(left) > 0 {
		t.Errorf("kept: %q", left)
	}
}

// A blob that was made is in doubt after an unclean end, as any other is, and made again if it is
// damaged.
func TestAMadeBlobInDoubtIsCheckedBeforeItIsGiven(t *testing.T) {
	b := content(1, checkAtOnce+100)
	l := unclean(t, b)
	flip(t, l, digest.FromBytes(b))
	s := open(t, l.dir, Options{})
	m := makerOf(b)
	d := digest.FromBytes(b)
	m.known.Store(&d)
	holds(t, made(t, s, m.want()), b)
	if m.makes.Load() != 1 || s.Stats().Quarantined != 1 {
		t.Errorf("made %d times; %+v", m.makes.Load(), s.Stats())
	}
}
