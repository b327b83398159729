package cache

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/ocifs/ocifs/fs/failingdisk"
)

// A blob that the disk can't read is set aside by the read that meets it, and fetched again by
// the next who wants it.
func TestAReadErrorOfTheDiskIsDamage(t *testing.T) {
	disk := failingdisk.Mount(t)
	s := open(t, filepath.Join(disk.Dir, "cache"), Options{})
	src := &source{b: content(4, 100_000)}
	_ = get(t, s, src.want()).Close() // the disk hands out another file by name
	f := get(t, s, src.want())
	holds(t, f, src.b)
	if !s.Reads() {
		t.Error("it isn't known that the disk reads")
	}
	disk.FailReads(f.Digest())
	if _, err := f.ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrUnreadable) || !errors.Is(err, syscall.EIO) {
		t.Errorf("the read: %v", err)
	}
	disk.Mend() // of the file that comes
	if st := s.Stats(); st.Quarantined != 1 || s.Reads() {
		t.Errorf("%+v", st)
	}
	if left := files(t, s.quarantine()); len(left) != 1 {
		t.Errorf("set aside: %q", left)
	}
	again := get(t, s, src.want())
	holds(t, again, src.b)
	if n := src.fetches.Load(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	_, _ = f.ReadAt(make([]byte, 10), 0)
	if _, err := os.Stat(s.blob(f.Digest())); err != nil || s.Stats().Quarantined != 1 {
		t.Errorf("the old file's reader set the new one aside: %v", err)
	}
}

// Where the disk can't move it either it stays, and isn't used any more.
func TestWhatTheDiskCanNeitherReadNorMoveIsntUsed(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	disk := failingdisk.Mount(t)
	s := open(t, filepath.Join(disk.Dir, "cache"), Options{})
	src := &source{b: content(4, 100_000)}
	d := fill(t, s, src.b)
	f, err := s.Open(d, -1)
	if err != nil {
		t.Fatal(err)
	}
	disk.FailReads(d)
	disk.FailMoves()
	for range 2 {
		if _, err := f.ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrUnreadable) {
			t.Errorf("the read: %v", err)
		}
	}
	_ = f.Close()
	if f, err := s.Open(d, -1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opened: %v, %v", f, err)
	}
	holds(t, get(t, s, src.want()), src.b)
	if n, st := src.fetches.Load(), s.Stats(); n != 1 || st.Quarantined != 1 {
		t.Errorf("%d fetches, %+v", n, st)
	}
	disk.Mend()
	_ = s.Close()
	s = open(t, s.dir, Options{})
	if n := s.Stats().Quarantined; n != 0 {
		t.Errorf("set aside: %d", n)
	}
}

// The check after an unclean end takes a read error for damage.
func TestACheckTakesAReadErrorForDamage(t *testing.T) {
	listed := unlisted(t)
	disk := failingdisk.Mount(t)
	b := content(1, checkAtOnce+1)
	dir := filepath.Join(disk.Dir, "cache")
	s := open(t, dir, Options{})
	d := fill(t, s, b)
	_ = s.Close()
	kill(t, holder(t, dir))
	disk.FailReads(d)
	src := &source{b: b}
	s = open(t, dir, Options{})
	t.Cleanup(listed)
	w := src.want()
	fetch := w.Fetch
	w.Fetch = func(ctx context.Context, off, n int64) (r io.ReadCloser, err error) {
		disk.Mend()
		return fetch(ctx, off, n)
	}
	holds(t, get(t, s, w), b)
	if src.fetches.Load() != 1 || s.Stats().Quarantined != 1 {
		t.Errorf("%d fetches, %+v", src.fetches.Load(), s.Stats())
	}
}
