package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestUnnamedFilesAreInMemoryOnlyWhereAPersonChoseThat(t *testing.T) {
	ram := filepath.Dir(disk(t, "1m"))
	sound, err := os.MkdirTemp("/var/tmp", "ocifs-test-") // where /tmp is in memory, this isn't
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sound) })
	if inMemory(sound) {
		t.Fatalf("%s is in memory: the test needs a disk there", sound)
	}
	for _, c := range []struct {
		chosen       string
		system, want []string
	}{
		{"", []string{ram, sound}, []string{sound}},
		{"", []string{ram}, nil},
		{ram, []string{ram, sound}, []string{ram, sound}},
	} {
		if got := temporaryDirs(c.chosen, c.system...); !slices.Equal(got, c.want) {
			t.Errorf("TMPDIR %q, of the system %q: %q, not %q", c.chosen, c.system, got, c.want)
		}
	}
	if _, err := unnamedIn(temporaryDirs("", ram)); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("where there is only memory: %v", err)
	}
}

// What can't be kept is served from the disk that was chosen for blobs, for as long as
// anything can be written there.
func TestUnnamedFilesAreOnTheDiskOfTheCacheWhereTheyCanBe(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", elsewhere)
	s := open(t, dir, Options{})
	where := func(f *File) string {
		t.Helper()
		path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Clean(path)
	}
	mend := inTheWay(t, s.partials())
	src := &source{b: content(1, 1000)}
	f := get(t, s, src.want())
	holds(t, f, src.b)
	if at := where(f); !strings.HasPrefix(at, dir+"/") {
		t.Errorf("with the disk still writable it is at %s", at)
	}
	mend()
	readOnly(t, dir)
	src = &source{b: content(2, 1000)}
	f = get(t, s, src.want())
	holds(t, f, src.b)
	if at := where(f); !strings.HasPrefix(at, elsewhere+"/") {
		t.Errorf("with nothing writable it is at %s", at)
	}
	if left := files(t, elsewhere); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}
