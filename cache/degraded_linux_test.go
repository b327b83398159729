package cache

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// readOnly makes a directory read-only, for root as well, until what it gives is called.
// Files that are open for writing stay so.
func readOnly(t *testing.T, dir string) (writable func()) {
	t.Helper()
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		t.Fatalf("a read-only view of a directory (this needs root): %v", err)
	}
	writable = sync.OnceFunc(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(writable)
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	return writable
}

// inTheWay puts a file where a directory was, until what it gives is called.
func inTheWay(t *testing.T, dir string) (gone func()) {
	t.Helper()
	if err := os.Rename(dir, dir+".was"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
		if err := os.Rename(dir+".was", dir); err != nil {
			t.Error(err)
		}
	}
}

// A directory that fails under a store is said once, and everything is served, whether or
// not it can be kept; and kept again, when the directory is well again.
func TestADirectoryThatFailsIsSaidOnceAndServedAround(t *testing.T) {
	for name, c := range map[string]struct {
		fail  func(t *testing.T, s *Store) (mend func())
		lines int
	}{
		"read-only":          {func(t *testing.T, s *Store) func() { return readOnly(t, s.dir) }, 1},
		"no place for parts": {func(t *testing.T, s *Store) func() { return inTheWay(t, s.partials()) }, 1},
		"no place for blobs": {func(t *testing.T, s *Store) func() { return inTheWay(t, s.blobs()) }, 1},
		"moved away": {func(t *testing.T, s *Store) func() {
			if err := os.Rename(filepath.Join(s.dir, version), s.dir+".was"); err != nil {
				t.Fatal(err)
			}
			return func() {}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			log := &logged{}
			s := open(t, filepath.Join(t.TempDir(), "cache"), Options{
				MaxBytes: 40_000 + 4096,
				Logger:   slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})),
			})
			var before [][]byte
			for i := range 9 {
				before = append(before, content(byte(i), 1000))
				fill(t, s, before[i])
			}
			src := &source{b: before[8]}
			f := get(t, s, src.want())
			mend := c.fail(t, s)
			holds(t, f, before[8])
			for i := range 30 {
				b := content(byte(100+i), 1000)
				src := &source{b: b}
				g := get(t, s, src.want())
				holds(t, g, b)
				_ = g.Close()
				_ = s.Put(digest.FromBytes(b), b) // may fail
				_ = s.Remember("tag", Pointer{Digest: digest.FromBytes(b)})
			}
			for _, b := range before {
				fill(t, s, b)
			}
			s.scan()
			if l := log.lines(); len(l) != c.lines {
				t.Errorf("%d lines: %q", len(l), l)
			}
			holds(t, f, before[8])
			_ = f.Close()
			mend()
			fill(t, s, content(200, 1000))
			if _, err := os.Stat(s.blob(digest.FromBytes(content(200, 1000)))); err != nil {
				t.Errorf("nothing is kept again: %v", err)
			}
			if left := files(t, os.Getenv("TMPDIR")); len(left) > 0 {
				t.Errorf("temporary files have names: %q", left)
			}
		})
	}
}

// A directory that is emptied while a blob comes costs that blob its place, no more.
func TestADirectoryThatIsEmptiedMeanwhileIsNoFailure(t *testing.T) {
	log := &logged{}
	s := open(t, t.TempDir(), Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	b := content(1, 1000)
	w, let, fetches := held(b)
	c := start(t.Context(), s, w, 1)
	eventually(t, "it is under way", func() bool { return fetches.Load() == 1 })
	if err := os.RemoveAll(filepath.Join(s.dir, version)); err != nil {
		t.Fatal(err)
	}
	close(let)
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	holds(t, o.f, b)
	settled(t, s)
	_ = o.f.Close()
	for _, l := range log.lines() {
		if strings.Contains(l, "level=ERROR") {
			t.Errorf("said: %s", l)
		}
	}
	fill(t, s, b)
	if _, err := os.Stat(s.blob(w.Digest)); err != nil {
		t.Error(err)
	}
}

// A part of a file that was lost, and reads as zeros, is found out, and fetched once more.
func TestLostBytesOfAPartialFileAreFetchedAgain(t *testing.T) {
	b := content(1, 1<<20)
	for name, lose := range map[string]func(f *os.File) error{
		"zeros": func(f *os.File) error { _, err := f.WriteAt(make([]byte, 64<<10), 128<<10); return err },
		"a hole": func(f *os.File) error {
			return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 128<<10, 64<<10)
		},
		"its end":       func(f *os.File) error { return f.Truncate(700 << 10) },
		"a flipped bit": func(f *os.File) error { _, err := f.WriteAt([]byte{b[5] ^ 1}, 5); return err },
		"all but its end": func(f *os.File) error {
			return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 1000<<10)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			src := &source{b: b}
			w := src.want()
			leave(t, s, w.Digest, b)
			f, err := os.OpenFile(s.partial(w.Digest), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := lose(f); err != nil {
				t.Fatal(err)
			}
			_ = f.Close()
			holds(t, get(t, s, w), b)
			if n := src.fetches.Load(); n != 1 {
				t.Errorf("%d fetches", n)
			}
		})
	}
}
