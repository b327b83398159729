package cache

import (
	"os"

	"golang.org/x/sys/unix"
)

// resident says whether the system has all pages of a part of a file in memory. Linux tells it
// since 6.5 (cachestat).
func resident(f *os.File, at, n int64) (bool, error) {
	var st unix.Cachestat_t
	err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{Off: uint64(at), Len: uint64(n)}, &st, 0)
	page := int64(os.Getpagesize())
	pages := (at+n-1)/page - at/page + 1
	return int64(st.Cache) == pages, err
}

// enter enters all pages of a mapping into the page table at once. One by one, at the first access to
// each, takes longer than a copy. It fails if the disk can't read a page that has left the memory.
func enter(mem []byte) error { return unix.Madvise(mem, unix.MADV_POPULATE_READ) }
