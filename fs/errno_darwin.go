package fs

import "syscall"

// remoteIO is the errno for a registry that fails. macOS has no EREMOTEIO.
const remoteIO = syscall.EIO
