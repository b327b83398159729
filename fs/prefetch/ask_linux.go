package prefetch

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// askCommand is the command of the ioctl, _IOW('O', 1, askSize) of asm-generic/ioctl.h.
const askCommand = 1<<30 | askSize<<16 | 'O'<<8 | 1

// ioctl sends a buffer with a command, and reads nothing back.
func ioctl(fd, command uintptr, b []byte) syscall.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, command, uintptr(unsafe.Pointer(&b[0])))
	return errno
}
