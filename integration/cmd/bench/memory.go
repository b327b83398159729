package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// touch uses n bytes of memory once, and frees them: half of what is available at most, as more would push
// out what is cached. A virtual machine may give free memory back to its host, and then the first use of
// each page takes up to 13 µs: 3.4 s for 1 GiB. Whether a program meets such pages depends on what ran
// before it, and not on the program. After touch, each finds n bytes whose pages were used a moment ago.
// Linux begins to give them back 2 s later, so a longer turn may meet some that are slow.
func touch(n int64) error {
	if available, err := meminfo("MemAvailable"); err == nil { // macOS doesn't tell
		n = min(n, available/2)
	}
	m, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("use %d bytes of memory: %w", n, err)
	}
	for at := 0; at < len(m); at += os.Getpagesize() {
		m[at] = 1
	}
	return unix.Munmap(m)
}

// meminfo gives a value of /proc/meminfo, in bytes.
func meminfo(name string) (int64, error) {
	const file = "/proc/meminfo"
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kb int64
		if _, err := fmt.Sscanf(line, name+": %d kB", &kb); err == nil {
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}
