package cache

import (
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"
)

// A small bound of one opener empties a shared cache for nobody: the bound is the
// directory's.
func TestTheBoundIsTheDirectorys(t *testing.T) {
	dir := t.TempDir()
	bound := func(s *Store, want int64) {
		t.Helper()
		if n := s.Bound(); n != want || s.Stats().Bound != want {
			t.Errorf("the bound is %d, where %d was expected", n, want)
		}
	}
	first := open(t, dir, Options{MaxBytes: 64 << 20, For: "/mnt/first"})
	bound(first, 64<<20)
	var ds []digest.Digest
	for i := range 5 {
		ds = append(ds, fill(t, first, content(byte(i), 1<<20)))
	}
	var log strings.Builder
	second := open(t, dir, Options{MaxBytes: 2 << 20, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	bound(second, 64<<20)
	if text := log.String(); !strings.Contains(text, "/mnt/first") || !strings.Contains(text, "ocifs cache limit") {
		t.Errorf("the log says %q", text)
	}
	second.scan()
	if k := kept(first, ds); k != "abcde" {
		t.Errorf("kept %q", k)
	}
	_, _ = first.Close(), second.Close()

	third := open(t, dir, Options{})
	bound(third, 64<<20)
	_ = third.Close()
	fourth := open(t, dir, Options{MaxBytes: 2 << 20})
	bound(fourth, 2<<20)
	eventually(t, "it holds", func() bool { return len(kept(fourth, ds)) == 1 })
}

// A changed bound of the directory counts for all stores that have it open.
func TestTheBoundIsChangedForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a store looks every few seconds
		dir := t.TempDir()
		s := open(t, dir, Options{MaxBytes: 64 << 20})
		var ds []digest.Digest
		for i := range 5 {
			ds = append(ds, fill(t, s, content(byte(i), 1<<20)))
		}
		c, err := At(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetBound(3 << 20); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Bound(); err != nil || n != 3<<20 {
			t.Errorf("%d, %v", n, err)
		}
		eventually(t, "it follows", func() bool { return s.Bound() == 3<<20 && kept(s, ds) == "de" })
	})
}

func TestABoundThatCantBeRead(t *testing.T) {
	for _, text := range []string{"", "lots\n", "-1\n", "0\n", "9999999999999999999999\n"} {
		for asked, want := range map[int64]int64{0: DefaultBound, 5 << 20: 5 << 20} {
			dir := t.TempDir()
			s := open(t, dir, Options{})
			_ = s.Close()
			if err := os.WriteFile(s.bound(), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			s = open(t, dir, Options{MaxBytes: asked, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if n := s.Bound(); n != want {
				t.Errorf("%q, and %d asked for: %d", text, asked, n)
			}
			if !strings.Contains(log.String(), s.bound()) {
				t.Errorf("%q: the log says %q", text, log.String())
			}
			_ = s.Close()
		}
	}
}
