package ingest

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Sets of bytes are what the same sets kept byte by byte are.
func TestSpansAreSetsOfBytes(t *testing.T) {
	const n = 24
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var ss spans
		var in [n]bool
		for range 8 {
			from := r.Int64N(n)
			s := span{from, from + r.Int64N(n-from+1)}
			add := r.IntN(3) > 0
			if add {
				ss = ss.with(s)
			} else {
				ss = ss.without(s)
			}
			for i := s.from; i < s.to; i++ {
				in[i] = add
			}
			var length int64
			for i, is := range in {
				if is {
					length++
				}
				if got := ss.meets(span{int64(i), int64(i) + 1}); got != is {
					t.Fatalf("%v: byte %d: %v", ss, i, got)
				}
			}
			if ss.len() != length {
				t.Fatalf("%v has %d bytes, not %d", ss, ss.len(), length)
			}
			for i := 1; i < len(ss); i++ {
				if ss[i-1].to >= ss[i].from {
					t.Fatalf("%v: not in order, or touching", ss)
				}
			}
		}
	}
}

// What a file with holes has is never more than was written, and not much less.
func TestHolesTellWhatWasntWritten(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const block = 4096
	for _, w := range []span{{0, 10*block + 100}, {64 * block, 80 * block}, {128 * block, 128*block + 5}} {
		if _, err := f.WriteAt(bytes.Repeat([]byte{1}, int(w.len())), w.from); err != nil {
			t.Fatal(err)
		}
	}
	got, err := written(f)
	if err != nil {
		t.Fatal(err)
	}
	want := spans{{0, 10 * block}, {64 * block, 79 * block}, {128 * block, 128*block + 5}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}
