package fs

import "syscall"

// remoteIO is the errno of a registry that fails.
const remoteIO = syscall.EREMOTEIO
