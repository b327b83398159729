package upload

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

const (
	// directFrom is the size from which a write may go to the disk directly, in bytes. Each
	// such write waits for the disk.
	directFrom = 256 << 10
	// directAlign is what the offset, the size and the address of a direct write are multiples
	// of, in bytes. No common file system wants more (open(2), O_DIRECT).
	directAlign = 4096
)

// openDirect opens a file once more, for writes that go past the page cache.
func openDirect(disk *os.File) (*os.File, error) {
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", disk.Fd()), os.O_WRONLY|syscall.O_DIRECT, 0)
}

// writingBack gives how many bytes the page cache is writing to disks; 0: not known.
func writingBack() int64 {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	return writebackIn(b)
}

// writebackIn gives the bytes of the line Writeback of /proc/meminfo (proc_meminfo(5)); 0: there is none.
func writebackIn(meminfo []byte) int64 {
	_, rest, _ := bytes.Cut(meminfo, []byte("\nWriteback:"))
	line, _, _ := bytes.Cut(rest, []byte(" kB\n"))
	kib, _ := strconv.ParseInt(string(bytes.TrimSpace(line)), 10, 64)
	return kib << 10
}

// fitsDirect says whether bytes can be written directly at the offset off.
func fitsDirect(p []byte, off int64) bool {
	address := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	return len(p) >= directFrom && len(p)%directAlign == 0 && off%directAlign == 0 && address%directAlign == 0
}
