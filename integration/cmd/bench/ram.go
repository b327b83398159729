package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// ramSpace is how many blobs the RAM disk has to have room for: the one that is pushed, the
// one before it, which may not be gone yet, and as much again for whoever else uses it.
const ramSpace = 4

// ramDisk makes a directory on Linux' usual RAM disk, where a registry doesn't share a disk
// with the programs that push to it. It gives "" if there is none with so many bytes free.
func ramDisk(bytes int64) string {
	const usual = "/dev/shm"
	var st unix.Statfs_t
	if err := unix.Statfs(usual, &st); err != nil || int64(st.Bavail)*int64(st.Bsize) < bytes {
		return ""
	}
	dir, err := os.MkdirTemp(usual, "ocifs-bench-")
	if err != nil {
		return ""
	}
	return dir
}
