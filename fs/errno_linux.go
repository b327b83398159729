package fs

import "syscall"

// remoteIO is the errno for a registry that fails.
const remoteIO = syscall.EREMOTEIO
