package cache

import (
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

// View is bytes of a blob, where the system has them in memory. The program hands them to the system
// and never looks at them itself: a page may be gone, and if the disk can't read it any more, a look
// at it is SIGBUS, where the system gets EFAULT.
type View struct {
	bytes  []byte
	window *window
}

// Bytes gives the bytes. They are valid until Release.
func (v *View) Bytes() []byte { return v.bytes }

// Release ends the view.
func (v *View) Release() { v.window.of.store.windows.release(v.window) }

// View gives n bytes of the blob at an offset, or those up to its end, without a copy of them. nil:
// ReadAt reads them. A view is of 64 KiB at least, and of pages that the system has in memory. The first
// one in each MiB of a blob begins where the MiB does, as it is with a reader who reads in order.
func (f *File) View(n int, off int64) *View {
	s, ws := f.s, &f.s.store.windows
	n = int(min(int64(n), s.size-off))
	if n < leastView || s.lost.Load() != nil || ws.refused.Load() {
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

// window is a part of a cache file: the pages themselves that the system has of it (mmap).
type window struct {
	of   *shared
	at   int64 // the offset in the file
	mem  []byte
	refs int // counts the views, and one while the window is recent; windows.mu guards it
}

// windows are the windows of a store. The zero value is ready.
type windows struct {
	refused atomic.Bool // the system can't make any

	mu     sync.Mutex // guards recent, and the refs of all windows; a leaf
	recent []*window  // the last window of each file that was read lately; the latest first
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
	if there, err := resident(s.f, at, n); !there {
		if err != nil {
			ws.refused.Store(true)
		}
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
	ws.drop(func(old *window) bool { return old.of == s })
	ws.mu.Lock()
	ws.recent = slices.Insert(ws.recent, 0, w)
	var last *window
	if len(ws.recent) > maxWindows {
		last = ws.recent[maxWindows]
	}
	ws.mu.Unlock()
	if last != nil {
		ws.drop(func(old *window) bool { return old == last })
	}
	return w
}

// drop has windows be recent no more.
func (ws *windows) drop(which func(*window) bool) {
	var dropped []*window
	ws.mu.Lock()
	ws.recent = slices.DeleteFunc(ws.recent, func(w *window) bool {
		if !which(w) {
			return false
		}
		dropped = append(dropped, w)
		return true
	})
	ws.mu.Unlock()
	for _, w := range dropped {
		ws.release(w)
	}
}

// release counts one less for a window. The last one unmaps it.
func (ws *windows) release(w *window) {
	ws.mu.Lock()
	w.refs--
	last := w.refs == 0
	ws.mu.Unlock()
	if last {
		_ = unix.Munmap(w.mem)
	}
}
