package cache

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// disk mounts a disk of a few bytes.
func disk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a small disk (this needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "cache")
}

func TestAFullDiskIsNoSpace(t *testing.T) {
	s := open(t, disk(t, "1m"), Options{})
	for _, size := range []int64{4 << 20, -1} {
		src := &source{b: content(1, 4<<20)}
		w := src.want()
		w.Size = size
		if f, err := s.Get(t.Context(), w); !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) || f != nil {
			t.Errorf("size %d: got %v, %v", size, f, err)
		}
		empty(t, s)
	}
	b := content(2, 100<<10)
	src := &source{b: b}
	holds(t, get(t, s, src.want()), b) // what fits still comes
}

func TestTheBoundIsWhatTheDiskHas(t *testing.T) {
	s := open(t, disk(t, "4m"), Options{})
	if l := s.Stats().Limit; l <= 0 || l > 4<<20 {
		t.Errorf("the limit is %d", l)
	}
	for i := range 12 {
		b := content(byte(i), 1<<20)
		src := &source{b: b}
		f := get(t, s, src.want())
		holds(t, f, b)
		_ = f.Close()
	}
	if st := s.Stats(); st.Evictions == 0 || st.Bytes > 4<<20 || st.Failures != 0 {
		t.Errorf("stats: %+v", st)
	}
}

func TestAFullDiskIsTriedAgainAfterEviction(t *testing.T) {
	s := open(t, disk(t, "4m"), Options{MaxBytes: 1 << 30})
	for i := range 3 {
		fill(t, s, content(byte(i), 1<<20))
	}
	src := &source{b: content(9, 2<<20)}
	w := src.want()
	w.Size = -1 // so that no room is made before
	holds(t, get(t, s, w), src.b)
}

// On a full disk a cache is opened, and CACHEDIR.TAG is never cut off: it is there as it was, or
// comes when there is space again. A directory that can't be made is ErrNoSpace.
func TestOpenOnAFullDisk(t *testing.T) {
	dir := disk(t, "1m")
	tag := filepath.Join(dir, tagName)
	for _, cut := range []bool{false, true} {
		s := open(t, dir, Options{})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		want := tagText
		if cut {
			want = ""
			if err := os.Truncate(tag, 0); err != nil {
				t.Fatal(err)
			}
		}
		other := newBallast(t, dir)
		other.fill()
		s = open(t, dir, Options{})
		if b, err := os.ReadFile(tag); err != nil || string(b) != want {
			t.Errorf("the tag has %d bytes, %v", len(b), err)
		}
		if err := other.f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if err := s.tag(); err != nil {
			t.Error(err)
		}
		if b, err := os.ReadFile(tag); err != nil || string(b) != tagText {
			t.Errorf("the tag has %d bytes then, %v", len(b), err)
		}
		_ = s.Close()
		if left := files(t, s.partials()); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
	if _, err := Open(disk(t, "1m,nr_inodes=1"), Options{}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("where no directory can be made: %v", err)
	}
}
