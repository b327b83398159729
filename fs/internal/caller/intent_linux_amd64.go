package caller

import "golang.org/x/sys/unix"

// System calls that newer architectures don't have.
const (
	openCall    = unix.SYS_OPEN
	linkCall    = unix.SYS_LINK
	symlinkCall = unix.SYS_SYMLINK
)
