package cache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
)

// stage writes a file as it is before it is adopted.
func stage(t *testing.T, s *Store, b []byte) string {
	t.Helper()
	if err := os.MkdirAll(s.Staging(), 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.Staging(), "f")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestAnAdoptedFileIsABlob(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	b := content(1, 4096)
	d := digest.FromBytes(b)
	for range 2 { // the second finds the first
		path := stage(t, s, b)
		if err := s.Adopt(d, 4096, path); err != nil {
			t.Fatal(err)
		}
		if exists(path) {
			t.Error("the file is still where it was")
		}
	}
	f, err := s.Open(d, 4096)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, 4096)
	if _, err := f.ReadAt(got, 0); err != nil || digest.FromBytes(got) != d {
		t.Errorf("read %s, %v", digest.FromBytes(got), err)
	}
	settled(t, s)
	if st := s.Stats(); st.Bytes != 4096 || st.Entries != 1 {
		t.Errorf("stats: %+v", st)
	}
}

func TestWhatIsNotAdoptedStays(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 40_960})
	b := content(1, 4096)
	path := stage(t, s, b)
	if err := s.Adopt(digest.FromBytes(b), 999, path); !errors.Is(err, ErrMismatch) || !exists(path) {
		t.Errorf("a wrong size is %v", err)
	}
	if err := s.Adopt("sha256:x", 4096, path); err == nil || !exists(path) {
		t.Error("a malformed digest is taken")
	}
	large := content(2, 45_057)
	path = stage(t, s, large)
	if err := s.Adopt(digest.FromBytes(large), 45_057, path); err == nil || !exists(path) {
		t.Error("what is larger than the bound is taken")
	}
}

func TestAdoptingKeepsToTheBound(t *testing.T) {
	s := open(t, t.TempDir(), Options{MaxBytes: 40_960})
	var ds []digest.Digest
	for i := range 11 {
		b := content(byte(i), 4096)
		ds = append(ds, digest.FromBytes(b))
		if err := s.Adopt(ds[i], 4096, stage(t, s, b)); err != nil {
			t.Fatal(err)
		}
		settled(t, s)
	}
	if k := kept(s, ds); k != "cdefghijk" {
		t.Errorf("kept %q", k)
	}
}

// Room that the disk has anyway costs no blob.
func TestMakingRoomEvictsNothingWhereThereIsSome(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	d := fill(t, s, content(1, 4096))
	s.MakeRoom(1)
	if k := kept(s, []digest.Digest{d}); k != "a" {
		t.Error("a blob was evicted")
	}
	disk, err := s.Space()
	if err != nil {
		t.Fatal(err)
	}
	s.MakeRoom(disk.Size)
	if k := kept(s, []digest.Digest{d}); k != "" {
		t.Error("no blob was evicted, where the disk is full")
	}
}
