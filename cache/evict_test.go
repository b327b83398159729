package cache

import (
	"os"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// kept says which of the blobs are on disk.
func kept(s *Store, ds []digest.Digest) string {
	out := ""
	for i, d := range ds {
		if _, err := os.Stat(s.blob(d)); err == nil {
			out += string(rune('a' + i))
		}
	}
	return out
}

func TestEvictionIsInOrderOfUseDownToTheLowWatermark(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 40_960})
	var ds []digest.Digest
	add := func() { ds = append(ds, fill(t, s, content(byte(len(ds)), 4096))) }
	for range 10 {
		add()
	}
	if k := kept(s, ds); k != "abcdefghij" {
		t.Fatalf("up to the bound nothing goes, but there is %q", k)
	}
	f, err := s.Open(ds[0], 4096) // a is used: b is the oldest now
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	add() // 45,056 are asked for: down to 36,864, so two go
	if k := kept(s, ds); k != "adefghijk" {
		t.Errorf("kept %q", k)
	}
	add() // one more fits below the bound, and nothing goes
	if k := kept(s, ds); k != "adefghijkl" {
		t.Errorf("kept %q", k)
	}
	if st := s.Stats(); st.Bytes != 40_960 || st.Evictions != 2 || st.Entries != 10 {
		t.Errorf("stats: %+v", st)
	}
}

func TestTheOrderOfUseOutlivesAReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	var ds []digest.Digest
	for i := range 4 {
		ds = append(ds, fill(t, s, content(byte(i), 4096)))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i, hours := range []int{2, 4, 1, 3} { // b, d, a, c
		at := time.Now().Add(-time.Duration(hours) * time.Hour)
		if err := os.Chtimes(s.blob(ds[i]), at, at); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, dir, Options{MaxBytes: 12_288}) // 11_059 at the low watermark
	eventually(t, "down to the bound", func() bool { return kept(s, ds) == "ac" })
}

func TestRecencyIsWrittenAtMostOnceAMinute(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 4096)
	d := fill(t, s, b)
	for age, touched := range map[time.Duration]bool{40 * time.Second: false, time.Hour: true, -time.Hour: true} {
		at := time.Now().Add(-age)
		if err := os.Chtimes(s.blob(d), at, at); err != nil {
			t.Fatal(err)
		}
		before, err := os.Stat(s.blob(d))
		if err != nil {
			t.Fatal(err)
		}
		fill(t, s, b)
		after, err := os.Stat(s.blob(d))
		if err != nil || before.ModTime().Equal(after.ModTime()) == touched {
			t.Errorf("used after %v: %v, then %v (%v)", age, before.ModTime(), after.ModTime(), err)
		}
	}
}

func TestOpenFilesSurviveTheEvictionOfEverything(t *testing.T) {
	dir := t.TempDir()
	s, other := open(t, dir, Options{MaxBytes: 40_960}), open(t, dir, Options{MaxBytes: 40_960})
	b := content(1, 4096)
	src := &source{b: b}
	f := get(t, s, src.want())
	s.shrink(1 << 40)
	if _, err := os.Stat(s.blob(f.Digest())); err != nil {
		t.Errorf("an open file was unlinked: %v", err)
	}
	holds(t, get(t, other, src.want()), b)
	if src.fetches.Load() != 1 {
		t.Errorf("%d fetches", src.fetches.Load())
	}
	// Another process doesn't know what is open here.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		fill(t, s, content(byte(2+i), 4096))
	}
	holds(t, f, b)
}

func TestWhatAnotherStoreEvictsIsAMiss(t *testing.T) {
	dir := t.TempDir()
	s, other := open(t, dir, Options{}), open(t, dir, Options{})
	src := &source{b: content(1, 4096)}
	f := get(t, s, src.want())
	d := fill(t, other, src.b)
	other.shrink(1 << 40)
	if _, err := os.Stat(s.blob(d)); err == nil {
		t.Fatal("not evicted")
	}
	holds(t, f, src.b)
	holds(t, get(t, s, src.want()), src.b)
	if src.fetches.Load() != 2 {
		t.Errorf("%d fetches", src.fetches.Load())
	}
}

func TestLargerThanTheStoreIsServedWhileOpenAndNotKept(t *testing.T) {
	for name, size := range map[string]int64{"size known": 204_800, "size unknown": -1} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{MaxBytes: 40_960})
			src := &source{b: content(1, 204_800)}
			w := src.want()
			w.Size = size
			f := get(t, s, w)
			empty(t, s)
			holds(t, f, src.b)
			_ = f.Close()
			if st := s.Stats(); st.Bytes != 0 {
				t.Errorf("stats: %+v", st)
			}
			holds(t, get(t, s, w), src.b)
			if src.fetches.Load() != 2 {
				t.Errorf("%d fetches", src.fetches.Load())
			}
		})
	}
}
