package cache

import (
	"bytes"
	"context"
	"io"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// mapped maps a whole blob into memory, as a kernel that reads past us does.
func mapped(t *testing.T, f *File) []byte {
	t.Helper()
	m, err := unix.Mmap(int(f.Fd()), 0, int(f.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Whoever has a blob open, or mapped, even beyond its Close, isn't disturbed: not by
// eviction, not by another's, not by damage that is set aside, not by an empty directory.
func TestOpenAndMappedBlobsAreNeverCutShort(t *testing.T) {
	b, others := content(1, 900<<10), func(s *Store) {
		for i := range 8 {
			fill(t, s, content(byte(100+i), 400<<10))
		}
	}
	for name, harm := range map[string]func(s, other *Store){
		"evicted":            func(s, _ *Store) { others(s) },
		"evicted by another": func(_, other *Store) { others(other); other.shrink(1 << 40) },
		"set aside": func(s, _ *Store) {
			src := &source{b: b}
			w := src.want()
			f, err := s.Open(w.Digest, -1)
			if err != nil {
				return // evicted
			}
			s.setAside(w.Digest, f.s.f, "a test")
			_ = f.Close()
		},
		"removed":    func(s, _ *Store) { _ = os.RemoveAll(s.dir) },
		"downloaded": func(s, _ *Store) { _ = os.Remove(s.blob(digest.FromBytes(b))); fill(t, s, b) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := Options{MaxBytes: 1 << 20}
			s, other := open(t, dir, o), open(t, dir, o)
			src := &source{b: b}
			f := get(t, s, src.want())
			m := mapped(t, f)
			check := func() {
				t.Helper()
				holds(t, f, b)
				if !bytes.Equal(m, b) {
					t.Fatal("the mapped bytes are others")
				}
				if st, err := f.s.f.Stat(); err != nil || st.Size() != int64(len(b)) {
					t.Fatalf("the file was cut to %d bytes (%v)", st.Size(), err)
				}
			}
			harm(s, other)
			check()
			harm(s, other)
			check()
			_ = f.Close()
			others(s)
			others(other)
			if !bytes.Equal(m, b) {
				t.Error("the mapped bytes are others after Close")
			}
		})
	}
}

// What has no name any more is on the disk for as long as it is open, and counts.
func TestWhatIsUnlinkedButOpenCounts(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{MaxBytes: 40_960})
	other := open(t, dir, Options{MaxBytes: 40_960})
	src := &source{b: content(1, 24_576)}
	f := get(t, s, src.want())
	again, err := s.Open(f.Digest(), -1)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, other, src.b)
	other.shrink(1 << 40)
	if _, err := os.Stat(s.blob(f.Digest())); err == nil {
		t.Fatal("not evicted")
	}
	s.scan()
	for i := range 8 {
		fill(t, s, content(byte(10+i), 4096))
		if n := s.Stats().Bytes; n > 16_384 {
			t.Fatalf("%d bytes beside 24,576 that are open", n)
		}
	}
	_ = again.Close()
	if n := s.used(); n <= 24_576 {
		t.Errorf("it is open yet, and %d bytes are counted", n)
	}
	_ = f.Close()
	if n, held := s.used(), s.Stats().Bytes; n != held {
		t.Errorf("nothing is open, and %d bytes are counted, of which %d are held", n, held)
	}
}

// used is what counts against the bound.
func (s *Store) used() int64 { return s.ledger.sums().used() }

// What another process downloads that is larger than the bound makes nothing go here.
func TestWhatAnotherServesAndDoesntKeepEvictsNothing(t *testing.T) {
	dir := t.TempDir()
	s, other := open(t, dir, Options{MaxBytes: 100_000}), open(t, dir, Options{MaxBytes: 100_000})
	d := fill(t, s, content(1, 50_000))
	b := content(2, 300_000)
	src, let := &source{b: b}, make(chan struct{})
	w := src.want()
	w.Fetch = func(ctx context.Context, off, n int64) (io.ReadCloser, error) {
		body, err := src.fetch(ctx, off, n)
		return slow{ctx, closed, io.MultiReader(io.LimitReader(body, 200_000), slow{ctx, let, body})}, err
	}
	c := start(t.Context(), other, w, 1)
	eventually(t, "much of it is there", func() bool { ts := other.Transfers(); return len(ts) == 1 && ts[0].Done >= 200_000 })
	s.scan()
	if _, err := os.Stat(s.blob(d)); err != nil || s.Stats().Evictions != 0 {
		t.Errorf("%v, %+v", err, s.Stats())
	}
	close(let)
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	_ = o.f.Close()
}
