package cache

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mappings counts the mappings that this process has of files below a directory.
func mappings(t *testing.T, dir string) int {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(maps), dir+"/")
}

// view gives a view of n bytes at an offset, which there must be, of the right bytes of a blob.
func view(t *testing.T, f *File, n int, off int64, blob []byte) *View {
	t.Helper()
	v := f.View(n, off)
	if v == nil {
		t.Fatalf("no view at %d", off)
	}
	if end := min(off+int64(n), int64(len(blob))); !bytes.Equal(v.Bytes(), blob[off:end]) {
		t.Errorf("other bytes at %d", off)
	}
	return v
}

// A reader who reads in order is given views, all of the right bytes, but of what is small.
func TestAReaderInOrderIsGivenViews(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	src := &source{b: content(1, 3*windowSize+leastView+5)}
	f := get(t, s, src.want())
	const n = 128 << 10
	for off := 0; off < len(src.b); off += n {
		view(t, f, n, int64(off), src.b).Release()
		if n := mappings(t, s.dir); n != 1 {
			t.Errorf("%d windows at %d", n, off)
		}
	}
	for what, v := range map[string]*View{
		"of few bytes":               f.View(leastView-1, 0),
		"of few bytes that are left": f.View(n, int64(len(src.b)-5)),
		"behind the end":             f.View(n, int64(len(src.b)+1)),
		"in the middle of a MiB":     f.View(n, windowSize/2),
		"over the border of a MiB":   f.View(n, windowSize-leastView),
	} {
		if v != nil {
			t.Errorf("a view %s", what)
		}
	}
}

// A view outlives its file, and its window goes with it.
func TestAViewOutlivesItsFile(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	src := &source{b: content(1, windowSize)}
	f := get(t, s, src.want())
	v := view(t, f, leastView, 0, src.b)
	_ = f.Close()
	if n := mappings(t, s.dir); n != 1 || !bytes.Equal(v.Bytes(), src.b[:leastView]) {
		t.Errorf("%d windows, or other bytes", n)
	}
	v.Release()
	if n := mappings(t, s.dir); n != 0 {
		t.Errorf("%d windows are left", n)
	}
}

// However many files are read, the windows are few. Those who look at one that went keep it.
func TestWindowsAreBounded(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	var views []*View
	var files []*File
	for i := range maxWindows + 3 {
		src := &source{b: content(byte(i), windowSize)}
		f := get(t, s, src.want())
		views, files = append(views, view(t, f, leastView, 0, src.b)), append(files, f)
	}
	for _, v := range views {
		v.Release()
	}
	if n := mappings(t, s.dir); n != maxWindows {
		t.Errorf("%d windows, want %d", n, maxWindows)
	}
	if v := files[0].View(leastView, leastView); v != nil {
		t.Error("a view of a window that went")
	}
	for _, f := range files {
		_ = f.Close()
	}
	if n := mappings(t, s.dir); n != 0 {
		t.Errorf("%d windows are left", n)
	}
}

// Pages of a window that left the memory are read by ReadAt too.
func TestNoViewIsGivenOfPagesThatLeftTheMemory(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	src := &source{b: content(1, windowSize)}
	f := get(t, s, src.want())
	v := view(t, f, leastView, 0, src.b)
	defer v.Release()
	if err := unix.Madvise(v.window.mem, unix.MADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if there, err := resident(f.s.f, 0, windowSize); there || err != nil {
		t.Fatalf("the test needs a TMPDIR on a disk, whose pages can leave the memory: %v", err)
	}
	if v := f.View(leastView, leastView); v != nil {
		t.Error("a view")
	}
}

// A reader whose offsets aren't those of pages is given views too.
func TestAViewBeginsAnywhereInAWindow(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	src := &source{b: content(1, windowSize)}
	f := get(t, s, src.want())
	for _, off := range []int64{0, 1, leastView + 4095, windowSize - leastView - 1} {
		view(t, f, leastView, off, src.b).Release()
	}
}
