package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func BenchmarkGet(b *testing.B) {
	b.Run("hit", func(b *testing.B) {
		s := open(b, b.TempDir(), Options{})
		src := &source{b: content(1, 4096)}
		fill(b, s, src.b)
		w := src.want()
		for b.Loop() {
			f, err := s.Get(context.Background(), w)
			if err != nil {
				b.Fatal(err)
			}
			_ = f.Close()
		}
	})
	const size = 256 << 20
	large := bytes.Repeat(content(1, 1<<20), size>>20)
	b.Run("cold 256 MiB", func(b *testing.B) {
		s := open(b, b.TempDir(), Options{})
		src := &source{b: large}
		w := Want{Digest: digest.FromBytes(large), Size: size, Fetch: src.fetch}
		b.SetBytes(size)
		for b.Loop() {
			f, err := s.Get(context.Background(), w)
			if err != nil {
				b.Fatal(err)
			}
			_ = f.Close()
			s.shrink(1 << 40)
		}
	})
	b.Run("plain copy of 256 MiB", func(b *testing.B) {
		dir := b.TempDir()
		b.SetBytes(size)
		for b.Loop() {
			f, err := os.Create(filepath.Join(dir, "copy"))
			if err != nil {
				b.Fatal(err)
			}
			// Without ReadFrom, as a network body has no shortcut.
			if _, err := io.Copy(f, struct{ io.Reader }{bytes.NewReader(large)}); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	})
}

// The cost of the first read of a GiB that is in doubt after an unclean end, and of the second:
// one read of the disk, once.
func BenchmarkFirstReadAfterAnUncleanEnd(b *testing.B) {
	const blobs, size = 16, 64 << 20
	dir := b.TempDir()
	s := open(b, dir, Options{})
	var wants []Want
	for i := range blobs {
		src := &source{b: content(byte(i), size)}
		fill(b, s, src.b)
		wants = append(wants, src.want())
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		// A sentinel that nobody has locked.
		if err := os.WriteFile(filepath.Join(s.alive(), "1-killed"), nil, 0o600); err != nil {
			b.Fatal(err)
		}
		s := open(b, dir, Options{})
		for _, turn := range []string{"first", "second"} {
			began := time.Now()
			for _, w := range wants {
				f, err := s.Get(b.Context(), w)
				if err != nil {
					b.Fatal(err)
				}
				_ = f.Close()
			}
			b.ReportMetric(float64(time.Since(began).Microseconds())/1000, turn+"-ms")
		}
		_ = s.Close()
	}
}

// BenchmarkScan tells what a scan costs for each blob, with the inodes in memory.
func BenchmarkScan(b *testing.B) {
	const blobs = 10_000
	s := openScanned(b, b.TempDir(), Options{})
	for i := range blobs {
		path := s.blob(digest.FromString(fmt.Sprint(i)))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		s.scan()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/blobs, "ns/blob")
}
