//go:build unix

package cache

import (
	"os"
	"syscall"
)

// inode is the number of a file's inode; 0 where that isn't known.
func inode(st os.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Ino
	}
	return 0
}

// allocated is how many bytes of the disk a file takes, in whole blocks: less than its size
// where it has holes, and more where it is small. POSIX leaves the unit of st_blocks open; it is
// 512 bytes on Linux and macOS, whatever the block of the file system.
func allocated(st os.FileInfo) int64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Blocks * 512
	}
	return inBlocks(st.Size())
}

// links is how many names a file has; 1 where that isn't known.
func links(st os.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return uint64(sys.Nlink)
	}
	return 1
}

// inBlocks is what a file of so many bytes takes of the disk, about, before it is there. The
// block of ext4, XFS, btrfs and APFS has 4096 bytes.
func inBlocks(size int64) int64 { return (size + 4095) / 4096 * 4096 }

// sameDisk says whether a file is on the cache's disk.
func (l layout) sameDisk(f *os.File) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(l.dir)
	if err != nil {
		return false
	}
	x, ok := a.Sys().(*syscall.Stat_t)
	y, also := b.Sys().(*syscall.Stat_t)
	return ok && also && x.Dev == y.Dev
}
