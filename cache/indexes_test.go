package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// writing writes b in two parts.
func writing(b []byte) func(io.Writer) error {
	return func(w io.Writer) error {
		if _, err := w.Write(b[:len(b)/2]); err != nil {
			return err
		}
		_, err := w.Write(b[len(b)/2:])
		return err
	}
}

func putIndex(t testing.TB, s *Store, of digest.Digest, b []byte) {
	t.Helper()
	if err := s.PutIndex(of, writing(b)); err != nil {
		t.Fatal(err)
	}
}

// indexHolds checks what the index of a blob gives.
func indexHolds(t testing.TB, s *Store, of digest.Digest, want []byte) {
	t.Helper()
	x, err := s.OpenIndex(of)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	got, err := io.ReadAll(io.NewSectionReader(x, 0, 1<<40)) // which finds no checksum behind it
	if err != nil || !bytes.Equal(got, want) || x.Size() != int64(len(want)) {
		t.Fatalf("the index gives %d bytes, and says %d, that aren't the %d that are right (%v)", len(got), x.Size(), len(want), err)
	}
}

func noIndex(t testing.TB, s *Store, of digest.Digest) {
	t.Helper()
	if x, err := s.OpenIndex(of); !errors.Is(err, fs.ErrNotExist) || x != nil {
		t.Fatalf("the index of %s: %v, %v", of, x, err)
	}
}

func TestAnIndexIsThereOnceItIsPut(t *testing.T) {
	dir := t.TempDir()
	s, other := open(t, dir, Options{}), open(t, dir, Options{})
	of := digest.FromString("a layer")
	noIndex(t, s, of)
	for _, b := range [][]byte{content(1, 3<<20), {}, content(2, 100)} { // one takes another's place
		putIndex(t, s, of, b)
		indexHolds(t, s, of, b)
		indexHolds(t, other, of, b)
	}
	if st := s.Stats(); st.Indexes != 1 || st.IndexBytes != 4096 || st.Entries != 0 {
		t.Errorf("stats: %+v", st)
	}
	_ = s.Close()
	s = openScanned(t, dir, Options{})
	indexHolds(t, s, of, content(2, 100))
	if st := s.Stats(); st.Indexes != 1 || st.IndexBytes != 4096 {
		t.Errorf("stats of the next: %+v", st)
	}
	s.DropIndex(of)
	noIndex(t, s, of)
	if st := s.Stats(); st.Indexes != 0 || st.IndexBytes != 0 {
		t.Errorf("stats afterwards: %+v", st)
	}
	s.DropIndex(of) // which isn't there: nothing
	if left := append(files(t, s.partials()), files(t, s.indexes())...); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// An index that isn't whole, or isn't that blob's, is none, and is removed.
func TestADamagedIndexIsNone(t *testing.T) {
	of, another := digest.FromString("a layer"), digest.FromString("another")
	for name, damage := range map[string]func(b, foreign []byte) []byte{
		"a bit":            func(b, _ []byte) []byte { b[1000] ^= 1; return b },
		"the checksum":     func(b, _ []byte) []byte { b[len(b)-1] ^= 1; return b },
		"cut off":          func(b, _ []byte) []byte { return b[:len(b)-100] },
		"zeros":            func(b, _ []byte) []byte { clear(b); return b },
		"empty":            func(_, _ []byte) []byte { return nil },
		"of another blob":  func(_, foreign []byte) []byte { return foreign },
		"longer than ever": func(b, _ []byte) []byte { return append(b, 'x') },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			putIndex(t, s, of, content(1, 5000))
			putIndex(t, s, another, content(2, 5000))
			b, err := os.ReadFile(s.indexPath(of))
			if err != nil {
				t.Fatal(err)
			}
			foreign, err := os.ReadFile(s.indexPath(another))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.indexPath(of), damage(b, foreign), 0o600); err != nil {
				t.Fatal(err)
			}
			noIndex(t, s, of)
			if _, err := os.Lstat(s.indexPath(of)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is there yet: %v", err)
			}
			indexHolds(t, s, another, content(2, 5000))
			putIndex(t, s, of, content(1, 5000))
			indexHolds(t, s, of, content(1, 5000))
		})
	}
}

// An index that can't be written whole leaves the old one.
func TestAnIndexThatFailsLeavesTheOldOne(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 8 << 20})
	of := digest.FromString("a layer")
	putIndex(t, s, of, content(1, 5000))
	broken := errors.New("broken")
	err := s.PutIndex(of, func(w io.Writer) error { _, _ = w.Write(content(2, 100)); return broken })
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := s.PutIndex(of, writing(content(3, 1<<20+1))); !errors.Is(err, ErrNoSpace) {
		t.Errorf("larger than all may be: %v", err)
	}
	if err := s.PutIndex("sha256:x", writing(nil)); err == nil {
		t.Error("an index of no digest was kept")
	}
	indexHolds(t, s, of, content(1, 5000))
	if left := files(t, s.partials()); len(left) > 0 || s.ledger.sums().reserved != 0 {
		t.Errorf("left: %q, %+v", left, s.ledger.sums())
	}
}

// The indexes stay while blobs come and go, and after all of them went.
func TestIndexesOutliveAllBlobs(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{MaxBytes: 4 << 20})
	of := fill(t, s, content(1, 500<<10))
	putIndex(t, s, of, content(9, 300<<10))
	for i := range 30 {
		fill(t, s, content(byte(10+i), 500<<10))
	}
	if _, err := s.Open(of, -1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the blob: %v", err)
	}
	s.evict(1 << 40)
	if st := s.Stats(); st.Entries != 0 || st.Indexes != 1 {
		t.Errorf("stats: %+v", st)
	}
	indexHolds(t, s, of, content(9, 300<<10))
	_ = s.Close()
	indexHolds(t, open(t, dir, Options{MaxBytes: 4 << 20}), of, content(9, 300<<10))
}

// The indexes take an eighth of the bound: those go that weren't used for longest, and they count
// against the bound.
func TestIndexesAreBounded(t *testing.T) {
	const each = 64 << 10
	s := openScanned(t, t.TempDir(), Options{MaxBytes: 16 * each * besidesShare})
	of := func(i int) digest.Digest { return digest.FromString(fmt.Sprint("layer ", i)) }
	for i := range 60 {
		putIndex(t, s, of(i), content(byte(i), each-100))
		long := time.Now().Add(time.Duration(i-1000) * time.Hour)
		if err := os.Chtimes(s.indexPath(of(i)), long, long); err != nil {
			t.Fatal(err)
		}
		indexHolds(t, s, of(0), content(0, each-100)) // which makes it young
	}
	st := s.Stats()
	if st.IndexBytes > 16*each || st.IndexBytes < 13*each || st.Indexes != len(files(t, s.indexes())) {
		t.Errorf("stats: %+v", st)
	}
	indexHolds(t, s, of(59), content(59, each-100))
	noIndex(t, s, of(1))
	for i := range 200 {
		fill(t, s, content(byte(i), each))
	}
	if sums := s.ledger.sums(); sums.used() > sums.max {
		t.Errorf("beyond the bound: %+v", sums)
	}
}

// Where the cache can't be written, an index is kept nowhere and is there until it is closed.
func TestAnIndexWithoutAName(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	of := digest.FromString("a layer")
	if err := os.WriteFile(s.indexes(), nil, 0o600); err != nil { // no directory can be made there
		t.Fatal(err)
	}
	if err := s.PutIndex(of, writing([]byte("x"))); err == nil {
		t.Error("it was put")
	}
	x, err := s.UnnamedIndex(writing([]byte("an index")))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if got, err := io.ReadAll(io.NewSectionReader(x, 0, 1<<40)); err != nil || string(got) != "an index" || x.Size() != 8 {
		t.Errorf("got %q, %v, %d", got, err, x.Size())
	}
	if left := files(t, filepath.Join(s.dir, version, "blobs")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
