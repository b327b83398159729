package rootfs

import (
	"archive/tar"
	"bytes"
	stdgzip "compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// manyFiles is an archive of n entries, as a distribution's layer has them: some ten files a
// directory, times and owners that repeat, a tenth symlinks.
func manyFiles(t testing.TB, n, size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, size)
	for i := range data {
		data[i] = "etaoin shrdlu\n"[r.IntN(14)]
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range n {
		h := tar.Header{Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(size), ModTime: time.Unix(1.7e9+int64(i/50)*1000, 0),
			Name: fmt.Sprintf("usr/share/package-%d/lib/module%d/file_%d.py", i/100, i/10%10, i)}
		switch i % 10 {
		case 0:
			h.Typeflag, h.Size, h.Mode = tar.TypeDir, 0, 0o755
			h.Name = h.Name[:len(h.Name)-len(fmt.Sprintf("file_%d.py", i))]
		case 1:
			h.Typeflag, h.Size, h.Linkname = tar.TypeSymlink, 0, fmt.Sprintf("../module%d/file_%d.py", i/10%10, i)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// BenchmarkScan is of an archive of 100,000 entries of 2 KiB. KB/live is what a finished scan
// holds before it is encoded, index-B/entry what the index has on the disk.
func BenchmarkScan(b *testing.B) {
	const n = 100_000
	raw := manyFiles(b, n, 2000)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	var out bytes.Buffer
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	var live uint64
	for b.Loop() {
		b.StopTimer()
		before := heap()
		b.StartTimer()
		s, err := Scan(bytes.NewReader(raw), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		live = heap() - before
		b.StartTimer()
		out.Reset()
		if err := s.Encode(&out, Meta{Size: int64(len(raw))}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
	b.ReportMetric(float64(live)/1024, "KB/live")
	b.ReportMetric(float64(out.Len())/n, "index-B/entry")
	b.ReportMetric(100*float64(out.Len())/float64(len(raw)), "%ofarchive")
}

// BenchmarkIndex is of the index of BenchmarkScan's archive.
func BenchmarkIndex(b *testing.B) {
	raw := manyFiles(b, 100_000, 10)
	x := index(b, raw)
	b.Run("Open", func(b *testing.B) {
		enc, err := encoded(bytes.NewReader(raw), raw)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := Open(bytes.NewReader(enc), int64(len(enc))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Walk", func(b *testing.B) {
		for b.Loop() {
			var walk func(Ino)
			walk = func(d Ino) {
				names, err := x.List(d)
				if err != nil {
					b.Fatal(err)
				}
				for _, n := range names {
					if n.Mode&typeMask == typeDir {
						walk(n.Ino)
					} else if _, err := x.Attr(n.Ino); err != nil {
						b.Fatal(err)
					}
				}
			}
			walk(Root)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/entry")
	})
	b.Run("Lookup", func(b *testing.B) {
		for b.Loop() {
			find(b, x, "usr/share/package-777/lib/module5/file_77755.py")
		}
	})
}

// BenchmarkUnpack compares the ways to unpack a layer: text of which a third doesn't compress.
func BenchmarkUnpack(b *testing.B) {
	raw := make([]byte, 64<<20)
	r := rand.New(rand.NewPCG(3, 4))
	words := make([][]byte, 5000)
	for i := range words {
		words[i] = fmt.Appendf(nil, "%x ", r.Uint64()>>(r.IntN(50)))
	}
	for i := 0; i < len(raw); {
		i += copy(raw[i:], words[min(r.IntN(5000), r.IntN(5000))])
	}
	copy(raw, archive(b, file("f", "data"))[:512])
	std := func(r io.Reader) (io.ReadCloser, error) { return stdgzip.NewReader(r) }
	ours := func(r io.Reader) (io.ReadCloser, error) { return Unpack(r, Limits{}) }
	threads := func(n int) func(r io.Reader) (io.ReadCloser, error) {
		return func(r io.Reader) (io.ReadCloser, error) {
			z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(n), zstd.WithDecoderLowmem(true))
			if err != nil {
				return nil, err
			}
			return z.IOReadCloser(), nil
		}
	}
	g, z := gz(b, raw), zst(b, raw)
	for _, c := range []struct {
		name   string
		packed []byte
		open   func(io.Reader) (io.ReadCloser, error)
	}{
		{"plain", raw, ours}, {"gzip", g, ours}, {"gzip-standard-library", g, std},
		{"zstd", z, ours}, {"zstd-1", z, threads(1)}, {"zstd-2", z, threads(2)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			buf := make([]byte, 256<<10)
			for b.Loop() {
				r, err := c.open(bytes.NewReader(c.packed))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
	}
}
