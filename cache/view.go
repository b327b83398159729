package cache

import (
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// windowSize is the size of a window in bytes, and its offset is a multiple of it. To map a
	// MiB and to unmap it takes 40 µs, and to copy it 150 µs.
	windowSize = 1 << 20
	// maxWindows is how many windows a store has at most. The system counts their pages as memory
	// of the process.
	maxWindows = 16
	// leastView is the least number of bytes of a view. To copy fewer costs as little.
	leastView = 64 << 10
)

// View is bytes of a blob that the system has in memory. The program hands them to the system and
// never looks at them itself: a page may leave the memory before Release. If the disk can't read it
// then, or another process has truncated the file, a look at the page is SIGBUS. The system gets
// EFAULT in that place, and the reader gets EIO.
type View struct {
	bytes  []byte
	window *window
}

// Bytes gives the bytes. They are valid until Release.
func (v *View) Bytes() []byte { return v.bytes }

// Release ends the view. It is called once.
func (v *View) Release() { v.window.of.store.windows.release(v.window) }

// View gives n bytes of the blob at an offset, or those up to its end, without a copy of them. nil:
// ReadAt reads them. A view is of 64 KiB at least, and of pages that the system has in memory. The first
// view in each MiB of a blob begins where the MiB does: a reader who reads in order gets views, and
// others rarely do.
func (f *File) View(n int, off int64) *View {
	s, ws := f.s, &f.s.store.windows
	n = int(min(int64(n), s.size-off))
	if n < leastView || s.lost.Load() != nil || ws.refused.Load() {
		return nil
	}
	// The pages of a window may have left the memory since it was mapped. To ask takes 0.2 µs.
	if !ws.resident(s.f, off, int64(n)) {
		return nil
	}
	w := ws.find(s, off, n)
	if w == nil && off%windowSize == 0 && n <= windowSize {
		w = ws.bring(s, off)
	}
	if w == nil {
		return nil
	}
	return &View{w.mem[off-w.at:][:n], w}
}

// window is a part of a cache file, mapped: mem is the pages themselves that the system has of it.
type window struct {
	of   *shared
	at   int64  // the offset in the file, in bytes
	mem  []byte // unmapped when refs is 0
	refs int    // counts the views, and one while the window is recent; guarded by windows.mu
}

// windows are the windows of a store. The zero value is ready.
type windows struct {
	refused atomic.Bool // the system can't tell which pages are in memory, so there are no windows

	mu     sync.Mutex // guards recent, and the refs of all windows; a leaf
	recent []*window  // the last window of each file that was read lately; the latest first
}

// resident says whether the system has all pages of a part of a file in memory.
func (ws *windows) resident(f *os.File, at, n int64) bool {
	there, err := resident(f, at, n)
	if errors.Is(err, errors.ErrUnsupported) {
		ws.refused.Store(true)
	}
	return there && err == nil
}

// find gives a recent window that has n bytes at an offset, and counts a view of it. nil: there is
// none.
func (ws *windows) find(s *shared, off int64, n int) *window {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for i, w := range ws.recent {
		if w.of == s && off >= w.at && off+int64(n) <= w.at+int64(len(w.mem)) {
			copy(ws.recent[1:], ws.recent[:i])
			ws.recent[0] = w
			w.refs++
			return w
		}
	}
	return nil
}

// bring maps a window, and counts a view of it. nil: not all of it is in memory. So nobody waits for
// the disk here, and nothing is mapped that the disk may fail to read.
func (ws *windows) bring(s *shared, at int64) *window {
	n := min(windowSize, s.size-at)
	if !ws.resident(s.f, at, n) {
		return nil
	}
	mem, err := unix.Mmap(int(s.f.Fd()), at, int(n), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	if err := enter(mem); err != nil {
		_ = unix.Munmap(mem)
		return nil
	}
	w := &window{of: s, at: at, mem: mem, refs: 2}
	kept := 0
	ws.replace(func(old *window) bool {
		if old.of == s || kept == maxWindows-1 {
			return true
		}
		kept++
		return false
	}, w)
	return w
}

// drop takes the windows of a file out of the recent ones.
func (ws *windows) drop(s *shared) {
	ws.replace(func(w *window) bool { return w.of == s })
}

// replace takes windows out of the recent ones, and makes others the latest. which is asked of each
// window once, the latest first.
func (ws *windows) replace(which func(*window) bool, by ...*window) {
	var out []*window
	ws.mu.Lock()
	ws.recent = slices.DeleteFunc(ws.recent, func(w *window) bool {
		if !which(w) {
			return false
		}
		out = append(out, w)
		return true
	})
	ws.recent = slices.Insert(ws.recent, 0, by...)
	ws.mu.Unlock()
	for _, w := range out {
		ws.release(w)
	}
}

// release counts one reference less of a window, and unmaps it with the last one.
func (ws *windows) release(w *window) {
	ws.mu.Lock()
	w.refs--
	last := w.refs == 0
	ws.mu.Unlock()
	if last {
		_ = unix.Munmap(w.mem)
	}
}
