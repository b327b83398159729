package main

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// dup2 makes the file that to names the one that from names.
func dup2(from, to *os.File) error { return unix.Dup3(int(from.Fd()), int(to.Fd()), 0) }

// closeInherited keeps the descriptors beyond standard error from the programs that this one
// starts. A daemon that had a script's lock file open would hold the lock. Kernels before 5.11
// can't do it, and leave them open.
func closeInherited() { _ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) }
