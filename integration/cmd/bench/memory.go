package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// touch uses n bytes of memory once, and frees them. A virtual machine may give free memory back to its
// host, and then the first use of each page takes up to 13 µs: 3.4 s for 1 GiB. Whether a program meets
// such pages depends on what ran before it, and not on the program. After touch, each finds n bytes
// whose pages were used a moment ago.
func touch(n int64) error {
	m, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("use %d bytes of memory: %w", n, err)
	}
	for at := 0; at < len(m); at += os.Getpagesize() {
		m[at] = 1
	}
	return unix.Munmap(m)
}
