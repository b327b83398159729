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

// A reader who reads in order is given views, all of the right bytes, but of what is small.
func TestAReaderInOrderIsGivenViews(t *testing.T) {
	s := open(t, t.TempDir(), Options{})
	src := &source{b: content(1, 3*windowSize+leastView+5)}
	f := get(t, s, src.want())
	const n = 128 << 10
	for off := 0; off < len(src.b); off += n {
		end := min(off+n, len(src.b))
		v := f.View(n, int64(off))
		if v == nil {
			t.Fatalf("no view at %d", off)
		}
		if !bytes.Equal(v.Bytes(), src.b[off:end]) {
			t.Errorf("other bytes at %d", off)
		}
		v.Release()
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
	v := f.View(leastView, 0)
	if v == nil {
		t.Fatal("no view")
	}
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
		v := f.View(leastView, 0)
		if v == nil {
			t.Fatalf("no view of file %d", i)
		}
		if !bytes.Equal(v.Bytes(), src.b[:leastView]) {
			t.Errorf("other bytes of file %d", i)
		}
		views, files = append(views, v), append(files, f)
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
	v := f.View(leastView, 0)
	if v == nil {
		t.Fatal("no view")
	}
	defer v.Release()
	if err := unix.Madvise(v.window.mem, unix.MADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if there, err := resident(f.s.f, 0, windowSize); there || err != nil {
		t.Skipf("the file system keeps its pages: %v", err) // tmpfs
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
		v := f.View(leastView, off)
		if v == nil {
			t.Fatalf("no view at %d", off)
		}
		if !bytes.Equal(v.Bytes(), src.b[off:off+leastView]) {
			t.Errorf("other bytes at %d", off)
		}
		v.Release()
	}
}
