package cache

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
)

// leave puts what a crash would have left of a download.
func leave(t *testing.T, s *Store, d digest.Digest, b []byte) {
	t.Helper()
	if err := os.WriteFile(s.partial(d), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a crash left of a download is gone on with, however much that is.
//
// Behaviour: blob.restart
func TestAPartialFileIsContinuedFromItsLength(t *testing.T) {
	b := content(1, 600<<10)
	for _, n := range []int{0, 1, 300 << 10, len(b) - 1, len(b)} {
		s := open(t, t.TempDir(), Options{})
		src := &source{b: b}
		w := src.want()
		leave(t, s, w.Digest, b[:n])
		holds(t, get(t, s, w), b)
		if n == len(b) {
			if src.fetches.Load() != 0 {
				t.Error("what was complete was fetched")
			}
		} else if src.fetches.Load() != 1 || src.offset.Load() != int64(n) {
			t.Errorf("of %d bytes: %d fetches, the last from %d", n, src.fetches.Load(), src.offset.Load())
		}
		if left := files(t, s.partials()); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
}

func TestACorruptPartialFileIsFetchedAnewOnce(t *testing.T) {
	b := content(1, 600<<10)
	for name, c := range map[string]struct {
		left    []byte
		fetches int64
	}{
		"corrupt":           {content(2, 1000), 2},
		"corrupt, complete": {content(2, len(b)), 1},
		"too long":          {content(1, len(b)+1), 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir(), Options{})
			src := &source{b: b}
			w := src.want()
			leave(t, s, w.Digest, c.left)
			holds(t, get(t, s, w), b)
			if src.fetches.Load() != c.fetches || src.offset.Load() != 0 {
				t.Errorf("%d fetches, the last from %d", src.fetches.Load(), src.offset.Load())
			}
		})
	}
	s := open(t, t.TempDir(), Options{})
	src := &source{b: content(3, len(b))}
	w := Want{Digest: digest.FromBytes(b), Size: int64(len(b)), Fetch: src.fetch}
	leave(t, s, w.Digest, content(2, 1000))
	if f, err := s.Get(t.Context(), w); err == nil {
		_ = f.Close()
		t.Fatal("delivered")
	}
	if src.fetches.Load() != 2 {
		t.Errorf("a source that is wrong was asked %d times", src.fetches.Load())
	}
	empty(t, s)
}

func TestABlobOfTheWrongSizeIsSetAsideAndFetchedAgain(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 1000)
	d := fill(t, s, b)
	if err := os.WriteFile(s.blob(d), b[:500], 0o600); err != nil {
		t.Fatal(err)
	}
	src := &source{b: b}
	holds(t, get(t, s, src.want()), b)
	if src.fetches.Load() != 1 || s.Stats().Quarantined != 1 {
		t.Errorf("%d fetches, %+v", src.fetches.Load(), s.Stats())
	}
	aside, err := os.ReadFile(filepath.Join(s.quarantine(), d.Encoded()))
	if err != nil || len(aside) != 500 {
		t.Errorf("set aside: %d bytes, %v", len(aside), err)
	}
}

func TestARemovedDirectoryIsMadeAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	b := content(1, 1000)
	src := &source{b: b}
	was := get(t, s, src.want())
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	holds(t, was, b)
	holds(t, get(t, s, src.want()), b)
	holds(t, get(t, s, src.want()), b)
	if src.fetches.Load() != 2 {
		t.Errorf("%d fetches", src.fetches.Load())
	}
	if _, err := os.Stat(s.blob(was.Digest())); err != nil {
		t.Error(err)
	}
}

func TestADirectoryThatBecameAFileIsServedAround(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	s := open(t, dir, Options{})
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	src := &source{b: content(1, 1000)}
	for range 2 {
		holds(t, get(t, s, src.want()), src.b)
	}
	if left := files(t, tmp); len(left) > 0 {
		t.Errorf("temporary files have names: %q", left)
	}
	if st, err := os.Stat(dir); err != nil || st.Size() != 0 {
		t.Errorf("the file was touched: %v", err)
	}
}
