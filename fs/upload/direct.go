package upload

import "os"

// writeAt writes to the staging disk. A writer that has time writes past the page cache: that waits
// for the disk, but takes little of the processor's time. If nobody takes the bytes from the window,
// they are read back soon, and the page cache should have them. The writing turn is held.
func (f *File) writeAt(disk *os.File, p []byte, off int64) (n int, err error) {
	if fitsDirect(p, off) && f.hasTime(off) {
		n = f.writeDirect(disk, p, off)
	}
	if n == len(p) {
		return n, nil
	}
	more, err := disk.WriteAt(p[n:], off+int64(n))
	return n + more, err
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
