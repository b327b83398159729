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

// allocated is how many bytes of the disk a file takes: less than its size where it
// has holes.
func allocated(st os.FileInfo) int64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return min(st.Size(), sys.Blocks*512)
	}
	return st.Size()
}

// links is how many names a file has; 1 where that isn't known.
func links(st os.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return uint64(sys.Nlink)
	}
	return 1
}
