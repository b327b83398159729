package fs

import "syscall"

// remoteIO is the errno of a registry that fails. macOS has no EREMOTEIO.
const remoteIO = syscall.EIO
