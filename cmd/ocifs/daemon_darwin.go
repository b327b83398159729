package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// dup2 makes the file that to names the one that from names.
func dup2(from, to *os.File) error { return unix.Dup2(int(from.Fd()), int(to.Fd())) }

// closeInherited does nothing: macOS has no call for it.
func closeInherited() {}
