package upload

import (
	"context"
	"time"
)

const (
	// windowSize is how many bytes a window holds. cp writes 1 MiB at a time, and the hash and
	// the sender take 256 KiB. Each of them has some pieces to go on with while the others
	// wait for a processor.
	windowSize = 4 << 20
	// maxWindows is how many files of a mount have a window at once. The bytes of other files
	// are read back from the disk.
	maxWindows = 4
	// windowWait is how long a write waits for a reader of the window that doesn't move. The
	// close waits for the sender in any case, so that a write that waits costs no time. A sender
	// that moves less than once in windowWait stands still, or sends less than 256 KiB a second.
	windowWait = time.Second
)

// window holds the newest bytes of a file that is sent while it is written. The hash and the
// sender are its readers. They take bytes from the window while the processor's cache has them,
// and needn't read them back from the disk. A reader whose place isn't in the window reads the
// disk.
//
// The holder of File.writing copies bytes into the ring, at places that no reader has. The writer
// waits for the readers before it overwrites their bytes. File.mu guards the fields.
type window struct {
	// ring has the byte at the offset off of the file at off modulo windowSize.
	ring []byte
	// start and end are the offsets between which the window has the bytes of the file.
	start, end int64
	// late says that the writer goes on without the window, because a reader stood still or is slow.
	late bool
	// moved is closed when a reader has come further; nil: no writer waits.
	moved chan struct{}
	// vain says that the registry may have the blob. Then the close doesn't wait for the sender, and
	// the time that the writer waits is lost.
	vain bool
	// since is when the window began.
	since time.Time
	// waited is how long the writer has waited for readers.
	waited time.Duration
}

// newWindow gives a window for what is written from the offset off on; nil: enough files have
// one. vain is window.vain.
func (a *Area) newWindow(off int64, vain bool) *window {
	if a.windows.Add(1) > maxWindows {
		a.windows.Add(-1)
		return nil
	}
	return &window{ring: make([]byte, windowSize), start: off, end: off, vain: vain, since: time.Now()}
}

// dropWindow gives the window up. A reader that has bytes of it keeps them. mu is held.
func (a *ahead) dropWindow() {
	if a.window == nil {
		return
	}
	a.window.readerMoved()
	a.window = nil
	a.f.root.area.windows.Add(-1)
}

// places gives the ring's places for the n bytes at the offset off, in two pieces if they wrap
// around.
func (w *window) places(off int64, n int) (first, second []byte) {
	at := int(off % int64(len(w.ring)))
	if wrapped := at + n - len(w.ring); wrapped > 0 {
		return w.ring[at:], w.ring[:wrapped]
	}
	return w.ring[at : at+n], nil
}

// view gives the n bytes at the offset off, in two pieces if they wrap around. They stay as they
// are until their reader says that it has come further. first is nil if the window hasn't all of
// them; a nil window has none. File.mu is held.
func (w *window) view(off int64, n int) (first, second []byte) {
	if w == nil || off < w.start || off+int64(n) > w.end {
		return nil, nil
	}
	return w.places(off, n)
}

// readerMoved wakes the writer. File.mu is held.
func (w *window) readerMoved() {
	if w != nil && w.moved != nil {
		close(w.moved)
		w.moved = nil
	}
}

// grown notes that the window has the bytes up to end. File.mu is held.
func (w *window) grown(end int64) {
	w.end = end
	w.start = max(w.start, end-int64(len(w.ring)))
}

// behind gives how many bytes before the offset end the slower reader hasn't taken. There is a
// sender, and mu is held.
func (f *File) behind(end int64) int64 {
	slower := f.ahead.given
	if f.summing != nil {
		slower = min(slower, f.summed())
	}
	return end - slower
}

// windowAt gives the window for bytes that are written at the offset off; nil: there is none, or
// the bytes don't go on where the file ended, or a reader stands still. A window that the writer
// went on without begins anew there. mu is held.
func (f *File) windowAt(off int64) *window {
	if f.ahead == nil || f.ahead.window == nil || off != f.front {
		return nil
	}
	w := f.ahead.window
	if w.end != off { // the writer went on without it
		w.start, w.end = off, off
		w.late = f.behind(off) > windowSize/2
	}
	if w.late {
		return nil
	}
	return w
}

// hasTime says that the readers of the window have enough to go on with while a write at the
// offset off takes longer than it must.
func (f *File) hasTime(off int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.windowAt(off) != nil && f.behind(off) >= windowSize/4
}

// remember copies bytes that were written at the offset off to the window, for wrote to show them
// to the readers. kept is false if the readers are to read the disk instead. The writing turn is
// held.
func (f *File) remember(ctx context.Context, p []byte, off int64) (kept bool) {
	w := f.waitForRoom(ctx, off, len(p))
	if w == nil {
		return false
	}
	first, second := w.places(off, len(p))
	copy(second, p[copy(first, p):])
	return true
}

// waitForRoom waits until the window has room for n bytes at the offset off. It gives nil if they
// aren't for the window. If a reader stands still, or the writer has waited enough, or ctx ends,
// the writer goes on without the window.
func (f *File) waitForRoom(ctx context.Context, off int64, n int) *window {
	for {
		w, moved, patience := f.roomAt(off, n)
		if moved == nil {
			return w
		}
		began := time.Now()
		late := time.NewTimer(patience)
		select {
		case <-moved:
			late.Stop()
			f.hasWaited(w, time.Since(began))
			continue
		case <-late.C:
		case <-ctx.Done():
			late.Stop()
		}
		f.hasWaited(w, time.Since(began))
		f.goOnWithoutWindow()
		return nil
	}
}

// roomAt gives the window for n bytes at the offset off; nil: they aren't for the window. moved is
// set if a reader has to come further first, and is closed when one has. patience is how long the
// writer may wait for that.
func (f *File) roomAt(off int64, n int) (w *window, moved <-chan struct{}, patience time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w = f.windowAt(off)
	if w == nil || n > windowSize {
		return nil, nil, 0
	}
	if f.behind(off)+int64(n) <= windowSize {
		return w, nil, 0
	}
	if w.moved == nil {
		w.moved = make(chan struct{})
	}
	return w, w.moved, w.patience(time.Now())
}

// patience gives how long the writer may wait for a reader. If the wait may be in vain, all waits
// together take no longer than the rest of the writing, and windowWait. File.mu is held.
func (w *window) patience(now time.Time) time.Duration {
	if !w.vain {
		return windowWait
	}
	writing := now.Sub(w.since) - w.waited
	return min(windowWait, windowWait+writing-w.waited)
}

// hasWaited notes how long the writer has waited.
func (f *File) hasWaited(w *window, long time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.waited += long
}

// goOnWithoutWindow notes that the writer doesn't wait for the readers of the window any more.
func (f *File) goOnWithoutWindow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ahead != nil && f.ahead.window != nil {
		f.ahead.window.late = true
	}
}
