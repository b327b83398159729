package upload

import (
	"os"
	"sync"
	"time"
)

// writeAt writes to the staging disk. A writer that has time writes past the page cache: that waits
// for the disk, but takes little of the processor's time. So does one to whom the page cache is slower
// than the disk. If nobody takes the bytes from the window, they are read back soon, and the page cache
// should have them. A disk that is busy with the page cache, or is slower than the readers, isn't waited
// for. The writing turn is held.
func (f *File) writeAt(disk *os.File, p []byte, off int64) (n int, err error) {
	a := f.root.area
	began, fits := time.Now(), fitsDirect(p, off)
	if fits {
		hasTime := f.hasTime(off)
		if (hasTime || f.pace.pastIsFaster()) && !a.backlog.isMuch(began, a.writingBack) {
			n = f.writeDirect(disk, p, off)
		}
		if n > 0 && hasTime {
			f.judge(off)
		}
	}
	if n == len(p) {
		f.pace.wentPast(n, time.Since(began))
		return n, nil
	}
	more, err := disk.WriteAt(p[n:], off+int64(n))
	if n == 0 && fits {
		f.pace.through.add(more, time.Since(began))
	}
	return n + more, err
}

// pace is how long the writes of a file take. The writing turn guards it.
type pace struct {
	through average // the page cache
	past    average // past it; after fewer writes than pastTries, the least that one took
	tried   int     // counts the writes past it
}

// pastTries is how many writes tell how fast the disk is. The first one opens the file once more, and
// waits for the file system to get it ready.
const pastTries = 4

// slowCopy is the pace from which on the page cache is slow, for a MiB. It is five times what the copy
// takes. A virtual machine takes 3.4 ms if it gets each new page of memory from its host, and a disk of
// 1 GB/s takes 1 ms.
const slowCopy = time.Millisecond

// pastIsFaster says whether writes are faster past the page cache. If the page cache is slow, some
// writes tell how fast the disk is.
func (p *pace) pastIsFaster() bool {
	return p.through >= average(slowCopy) && (p.tried < pastTries || p.past < p.through)
}

// wentPast notes a write of n bytes past the page cache.
func (p *pace) wentPast(n int, took time.Duration) {
	least := p.past
	if p.tried < pastTries {
		p.past = 0
	}
	p.past.add(n, took)
	if p.tried < pastTries && p.tried > 0 {
		p.past = min(p.past, least)
	}
	p.tried++
}

// average is how long a MiB takes, in nanoseconds. The latest writes count most. 0: not known.
type average time.Duration

func (a *average) add(n int, took time.Duration) {
	one := average(float64(took) / float64(n) * (1 << 20))
	if *a > 0 {
		one = (3**a + one) / 4
	}
	*a = one
}

// writeDirect writes past the page cache, and gives how many bytes are written. After a failure,
// the file is never written so again: its file system may not offer it, or the disk may be full.
func (f *File) writeDirect(disk *os.File, p []byte, off int64) int {
	d := f.directOf(disk)
	if d == nil {
		return 0
	}
	n, err := d.WriteAt(p, off)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.indirect = true
	}
	return n
}

const (
	// muchBacklog is how many bytes the page cache may be writing to disks while a write goes past
	// it. The disk takes those bytes first, and the write can't be given up.
	muchBacklog = 16 << 20
	// backlogEvery is how often the system is asked for the backlog. That takes 20 µs.
	backlogEvery = 10 * time.Millisecond
)

// backlog tells whether the page cache is writing much to disks. It is safe for concurrent use.
type backlog struct {
	mu    sync.Mutex // guards the fields below
	asked time.Time  // when size was called last; zero: never
	much  bool       // size gave muchBacklog or more
}

// isMuch says whether size gave muchBacklog or more when it was called last. It calls size if that was
// backlogEvery ago. Others go on with the last answer meanwhile.
func (b *backlog) isMuch(now time.Time, size func() int64) bool {
	if much, fresh := b.last(now); fresh {
		return much
	}
	much := size() >= muchBacklog
	b.mu.Lock()
	defer b.mu.Unlock()
	b.much = much
	return much
}

// last gives the last answer. fresh is false if the caller is to ask once more.
func (b *backlog) last(now time.Time) (much, fresh bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fresh = now.Sub(b.asked) < backlogEvery
	if !fresh {
		b.asked = now
	}
	return b.much, fresh
}

// A disk may be slower than the readers of the window. A direct write that they waited for adds
// slowWrite to File.slowness, and each other one takes 1 off. At tooSlow the file is written through the
// page cache from then on: after four slow writes in a row, or if more than one of nine is slow for long.
const (
	slowWrite = 8
	tooSlow   = 4 * slowWrite
)

// judge counts a direct write at the offset off that has ended. The readers had bytes before off to
// take when it began, as hasTime said. If the slower reader has none left, they waited for the disk. A
// write without a window isn't counted. The writing turn is held.
func (f *File) judge(off int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.windowAt(off) == nil {
		return
	}
	if f.behind(off) > 0 {
		f.slowness = max(0, f.slowness-1)
		return
	}
	f.slowness += slowWrite
	f.indirect = f.indirect || f.slowness >= tooSlow
}

// directOf gives the file on the disk as it is opened for direct writes; nil: it can't be.
func (f *File) directOf(disk *os.File) *os.File {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.direct == nil && !f.indirect {
		d, err := openDirect(disk)
		f.direct, f.indirect = d, err != nil
	}
	if f.indirect {
		return nil
	}
	return f.direct
}
