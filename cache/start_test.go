package cache

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// What a cache holds is served, and what it doesn't is fetched, however long it takes to
// read its directory.
func TestTheFirstAnswersDontWaitForTheScan(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	cached := content(1, 1000)
	fill(t, s, cached)
	if err := s.Remember("tag", Pointer{Digest: digest.FromBytes(cached)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	let := make(chan struct{})
	release := sync.OnceFunc(func() { close(let) })
	hook(t, "scanned", func() { <-let })
	s = open(t, dir, Options{})
	t.Cleanup(release) // before Close, which waits for it
	if st := s.Stats(); st.Entries != 0 {
		t.Fatalf("it was read already: %+v", st)
	}
	src := &source{b: cached}
	holds(t, get(t, s, src.want()), cached)
	if src.fetches.Load() != 0 {
		t.Error("what was cached was fetched")
	}
	if p, ok := s.Recall("tag"); !ok || p.Digest != digest.FromBytes(cached) {
		t.Errorf("recalled: %v, %v", p, ok)
	}
	fill(t, s, content(2, 1000))
	small := content(3, 1000)
	if err := s.Put(digest.FromBytes(small), small); err != nil {
		t.Error(err)
	}
	release()
	eventually(t, "all is counted once", func() bool { st := s.Stats(); return st.Entries == 3 && st.Bytes == 3*4096 })
}

// The time from nothing to the first answer, that until the directory is read, and the
// memory that its index takes.
func BenchmarkStartWith100000Entries(b *testing.B) {
	const entries = 100_000
	dir := b.TempDir()
	s := open(b, dir, Options{})
	d := fill(b, s, content(1, 1000))
	for i := range entries - 1 {
		var key [8]byte
		binary.LittleEndian.PutUint64(key[:], uint64(i))
		path := s.blob(digest.FromBytes(key[:])) // nobody looks at their bytes
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, key[:], 0o600); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	var first, scanned, memory float64
	for b.Loop() {
		began := time.Now()
		s, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		f, err := s.Open(d, 1000)
		if err != nil {
			b.Fatal(err)
		}
		first += time.Since(began).Seconds()
		for s.Stats().Entries < entries {
			time.Sleep(time.Millisecond)
		}
		scanned += time.Since(began).Seconds()
		memory = heap() - before
		_ = f.Close()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(first/float64(b.N)*1e3, "ms-to-first-answer")
	b.ReportMetric(scanned/float64(b.N)*1e3, "ms-to-index")
	b.ReportMetric(memory/entries, "B/entry")
}
