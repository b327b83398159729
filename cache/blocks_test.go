package cache

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// onDisk is what all files of a cache take of the disk, but those that there is one of for a
// directory or a process.
func onDisk(t *testing.T, s *Store) (bytes int64) {
	t.Helper()
	for _, dir := range []string{s.blobs(), s.partials(), s.pointers(), s.indexes(), s.quarantine()} {
		_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				if st, err := e.Info(); err == nil {
					bytes += allocated(st)
				}
			}
			return nil
		})
	}
	return bytes
}

// countedAsOnDisk checks that what is counted is what the disk has, without a scan.
func countedAsOnDisk(t *testing.T, s *Store) {
	t.Helper()
	if sums, n := s.ledger.sums(), onDisk(t, s); sums.used() != n {
		t.Errorf("the disk has %d bytes, counted are %+v", n, sums)
	}
}

// Small blobs take a block each: the bound is of the disk.
func TestTheBoundCountsBlocks(t *testing.T) {
	const bound = 256 << 10
	s := open(t, t.TempDir(), Options{MaxBytes: bound})
	for i := range 200 {
		b := fmt.Appendf(nil, "small %d", i)
		if err := put(s, digest.FromBytes(b), b); err != nil {
			t.Fatal(err)
		}
	}
	settled(t, s)
	s.scan()
	if n := onDisk(t, s); n > bound || n < bound/2 || n != s.Stats().Bytes {
		t.Errorf("%d bytes of %d are taken, %d are told", n, bound, s.Stats().Bytes)
	}
}

// Pointers count, and take no more than their share: those that weren't remembered for
// longest go. What is in the cache beside them stays.
func TestTheBoundCountsPointers(t *testing.T) {
	const bound = 1 << 20
	s := open(t, t.TempDir(), Options{MaxBytes: bound})
	blob := fill(t, s, content(1, bound/2))
	for i := range 100 {
		if err := s.Remember(fmt.Sprint("r/x:", i), Pointer{Digest: blob, Checked: time.Now()}); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.Chtimes(s.pointer(fmt.Sprint("r/x:", i)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	pointers := s.Stats().Pointers
	if pointers > bound/besidesShare || pointers < bound/besidesShare/2 || onDisk(t, s) != pointers+bound/2 {
		t.Errorf("pointers take %d bytes, all takes %d", pointers, onDisk(t, s))
	}
	s.scan()
	if n := s.Stats().Pointers; n != pointers {
		t.Errorf("a scan counts %d bytes of pointers, where %d were counted", n, pointers)
	}
	if _, ok := s.Recall("r/x:99"); !ok {
		t.Error("the last one is forgotten")
	}
	if _, ok := s.Recall("r/x:0"); ok {
		t.Error("the first one is remembered")
	}
	if k := kept(s, []digest.Digest{blob}); k != "a" {
		t.Error("the blob went")
	}
	if u, err := s.Usage(); err != nil || u.Used != pointers+bound/2 {
		t.Errorf("%+v, %v", u, err)
	}
}

// Damaged blobs that were set aside count, and go before blobs do where they are much.
func TestTheBoundCountsTheQuarantine(t *testing.T) {
	const bound = 1 << 20
	s := open(t, t.TempDir(), Options{MaxBytes: bound})
	damaged := content(1, bound/2)
	d := fill(t, s, damaged)
	f, err := s.Open(d, -1)
	if err != nil {
		t.Fatal(err)
	}
	s.setAside(d, f.s.f, "a test says so")
	_ = f.Close()
	if st := s.Stats(); st.Aside != bound/2 || st.Bytes != 0 {
		t.Errorf("%+v", st)
	}
	s.scan()
	if st := s.Stats(); st.Aside != bound/2 {
		t.Errorf("after a scan: %+v", st)
	}
	kepts := []digest.Digest{fill(t, s, content(2, bound/4)), fill(t, s, content(3, bound/2))}
	if st := s.Stats(); st.Aside != 0 || kept(s, kepts) != "ab" || onDisk(t, s) != bound*3/4 {
		t.Errorf("kept %q: %+v", kept(s, kepts), st)
	}
}

// BenchmarkIndexMemory tells what one blob costs in the index, with its digest.
func BenchmarkIndexMemory(b *testing.B) {
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		l := newLedger(1 << 50)
		const blobs = 200_000
		for i := range blobs {
			l.note(digest.FromString(fmt.Sprint(i)), 4096)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/blobs, "B/blob")
		runtime.KeepAlive(l)
	}
}
