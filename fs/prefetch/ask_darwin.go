package prefetch

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// askCommand is the command of the ioctl, _IOW('O', 1, askSize) of sys/ioccom.h.
const askCommand = 0x80000000 | askSize<<16 | 'O'<<8 | 1

// ioctl sends a buffer with a command, and reads nothing back.
func ioctl(fd, command uintptr, b []byte) syscall.Errno {
	//lint:ignore SA1019 package unix has no other ioctl of a buffer for macOS
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, command, uintptr(unsafe.Pointer(&b[0])))
	return errno
}
