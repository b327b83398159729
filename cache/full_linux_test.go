package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"
)

// ballast is a file of someone else's that takes bytes of the disk that a cache is on.
type ballast struct {
	t *testing.T
	f *os.File
	n int64
}

func newBallast(t *testing.T, cache string) *ballast {
	t.Helper()
	f, err := os.Create(filepath.Join(filepath.Dir(cache), "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &ballast{t: t, f: f}
}

// grow takes n more bytes, or what there are.
func (b *ballast) grow(n int64) {
	b.t.Helper()
	zeros := make([]byte, 64<<10)
	for end := b.n + n; b.n < end; b.n += int64(len(zeros)) {
		if _, err := b.f.WriteAt(zeros, b.n); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *ballast) fill() { b.grow(1 << 40) }

// The disk becomes fuller and emptier, and the bound with it.
func TestTheBoundFollowsWhatTheDiskHas(t *testing.T) {
	const size = 16 << 20
	dir := disk(t, "16m")
	s := open(t, dir, Options{})
	other := newBallast(t, dir)
	var seed byte
	follows := func(n int) {
		t.Helper()
		for range n {
			seed++
			fill(t, s, content(seed, 512<<10))
		}
		if st, room := s.Stats(), size-other.n; st.Failures != 0 || st.Limit > room || st.Bytes > room || st.Bytes < room/5*4-1<<20 {
			t.Errorf("of %d bytes: %+v", room, st)
		}
	}
	follows(40)
	for range 8 {
		other.grow(1 << 20)
		follows(3)
	}
	if other.n < 5<<20 {
		t.Fatalf("the other has %d bytes", other.n)
	}
	if err := other.f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	other.n = 0
	follows(20)
}

// What a download has brought takes no room twice, as what it reserved and of the disk.
func TestWhatHasComeOfADownloadIsntCountedTwice(t *testing.T) {
	s := open(t, disk(t, "32m"), Options{})
	for i := range 8 {
		fill(t, s, content(byte(i), 1<<20))
	}
	large := content(100, 12<<20)
	src := &source{b: large}
	w := src.want()
	let := make(chan struct{})
	w.Fetch = func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		body, err := src.fetch(ctx, off, n)
		return slow{ctx, closed, io.MultiReader(io.LimitReader(body, 11<<20), slow{ctx, let, body})}, err
	}
	c := start(t.Context(), s, w, 1)
	eventually(t, "most of it is there", func() bool { ts := s.Transfers(); return len(ts) == 1 && ts[0].Done >= 11<<20 })
	fill(t, s, content(101, 4<<20)) // 24 of 32 MiB are in use then
	if st := s.Stats(); st.Evictions != 0 {
		t.Errorf("there is room, and yet: %+v", st)
	}
	close(let)
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	holds(t, o.f, large)
	_ = o.f.Close()
}

// An adopted file is on the disk already. No blob is evicted that has room beside it.
func TestWhatIsAdoptedIsntCountedTwice(t *testing.T) {
	s := open(t, disk(t, "32m"), Options{})
	for i := range 8 {
		fill(t, s, content(byte(i), 1<<20))
	}
	large := content(100, 18<<20) // 26 of 32 MiB are in use then
	if err := s.Adopt(digest.FromBytes(large), int64(len(large)), stage(t, s, large)); err != nil {
		t.Fatal(err)
	}
	settled(t, s)
	if st := s.Stats(); st.Evictions != 0 || st.Entries != 9 {
		t.Errorf("there is room, and yet: %+v", st)
	}
}

// A disk that someone else fills while a blob comes has room for it once others go, and
// not all of them do.
func TestADiskThatFillsMeanwhileIsTriedAgain(t *testing.T) {
	dir := disk(t, "32m")
	s := open(t, dir, Options{MaxBytes: 1 << 30})
	for i := range 20 {
		fill(t, s, content(byte(i), 1<<20))
	}
	other := newBallast(t, dir)
	src := &source{b: content(100, 2<<20)}
	w := src.want()
	w.Fetch = func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		body, err := src.fetch(ctx, off, n)
		return slow{ctx, closed, io.MultiReader(io.LimitReader(body, 1<<20), calls{other.fill}, body)}, err
	}
	f := get(t, s, w)
	holds(t, f, src.b)
	_ = f.Close()
	if st := s.Stats(); st.Failures != 0 || st.Evictions == 0 || st.Entries < 14 {
		t.Errorf("stats: %+v", st)
	}
}

// calls is nothing to read, before which something happens.
type calls struct{ f func() }

func (c calls) Read([]byte) (int, error) { c.f(); return 0, io.EOF }

// What is small has room on a full disk as well.
func TestSmallFilesGoToAFullDiskAfterEviction(t *testing.T) {
	dir := disk(t, "4m")
	s := open(t, dir, Options{MaxBytes: 1 << 30})
	for i := range 3 {
		fill(t, s, content(byte(i), 1<<20))
	}
	other := newBallast(t, dir)
	other.fill()
	if err := s.Remember("tag", Pointer{Digest: digest.FromString("x")}); err != nil {
		t.Errorf("a pointer: %v", err)
	}
	if _, ok := s.Recall("tag"); !ok {
		t.Error("it isn't recalled")
	}
	other.fill()
	b := content(9, 100<<10)
	if err := s.Put(digest.FromBytes(b), b); err != nil {
		t.Errorf("a manifest: %v", err)
	}
	settled(t, s)
	s.shrink(1 << 40)
	other.fill()
	if err := s.Put(digest.FromBytes(b), b); err == nil {
		f, err := s.Open(digest.FromBytes(b), -1)
		if err == nil {
			_ = f.Close()
			t.Error("kept on a disk that has nothing")
		}
	} else if !errors.Is(err, ErrNoSpace) {
		t.Error(err)
	}
	if st := s.Stats(); st.Bytes != 0 || st.Partial != 0 || len(files(t, s.partials())) != 0 {
		t.Errorf("%+v, %q", st, files(t, s.partials()))
	}
}

// A disk may have bytes, and no files: what is small has room there as well, after an eviction for its
// file and another one for its directory.
func TestPutEvictsForAFileAndForADirectory(t *testing.T) {
	dir := disk(t, "8m,nr_inodes=100")
	n := 0
	noFiles := func() {
		for {
			f, err := os.Create(filepath.Join(filepath.Dir(dir), fmt.Sprint("ballast", n)))
			if err != nil {
				return
			}
			_ = f.Close()
			n++
		}
	}
	then := atStep(t, "synced")
	s := openScanned(t, dir, Options{})
	for i := range 8 {
		fill(t, s, content(byte(i), 4096))
	}
	settled(t, s)
	then.Store(&noFiles)
	noFiles()
	b := content(9, 4096)
	if err := s.Put(digest.FromBytes(b), b); err != nil {
		t.Fatal(err)
	}
	settled(t, s)
	if !s.placed(digest.FromBytes(b), 4096) {
		t.Error("it isn't kept")
	}
	if st := s.Stats(); st.Evictions == 0 || st.Entries < 4 || st.Trouble != "" {
		t.Errorf("%+v", st)
	}
}

// The error of Put says what keeps a blob from being put.
func TestPutSaysWhatKeepsItFromTheDirectory(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	if err := os.RemoveAll(s.partials()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.partials(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b := content(1, 1000)
	if err := s.Put(digest.FromBytes(b), b); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("%v", err)
	}
	if sums := s.ledger.sums(); sums.used() != 0 || sums.pinned != 0 || s.Stats().Trouble == "" {
		t.Errorf("%+v", sums)
	}
}

func TestADownloadInPartsOnAFullDiskLeavesNothing(t *testing.T) {
	dir := disk(t, "60m")
	bigDigest()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, dir, Options{Parts: 8})
		w := newWire(10e6)
		if f, err := s.Get(t.Context(), w.want()); !errors.Is(err, ErrNoSpace) || f != nil {
			t.Errorf("got %v, %v", f, err)
		}
		synctest.Wait()
		if w.parts.Load() == 0 || w.open.Load() != 0 {
			t.Errorf("%d parts, %d bodies are open", w.parts.Load(), w.open.Load())
		}
		empty(t, s)
		if sums := s.ledger.sums(); sums.used() != 0 {
			t.Errorf("something counts yet: %+v", sums)
		}
		b := content(1, 1<<20)
		src := &source{b: b}
		holds(t, get(t, s, src.want()), b)
	})
}
