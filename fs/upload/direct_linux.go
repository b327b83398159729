package upload

import (
	"fmt"
	"os"
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

// fitsDirect says whether bytes can be written directly at the offset off.
func fitsDirect(p []byte, off int64) bool {
	address := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	return len(p) >= directFrom && len(p)%directAlign == 0 && off%directAlign == 0 && address%directAlign == 0
}
