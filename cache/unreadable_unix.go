//go:build unix

package cache

import (
	"errors"
	"slices"
	"syscall"
)

// unreadable says that the disk can't read what it has, by the error of an open or a read: its
// blocks are broken, or fail the file system's checksums.
func unreadable(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && slices.Contains(unreadableErrnos, errno)
}
