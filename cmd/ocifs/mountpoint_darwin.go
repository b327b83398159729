package main

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// isOurs says whether an ocifs is mounted on path.
func isOurs(path string) bool {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return false
	}
	text := func(b []byte) string {
		b, _, _ = bytes.Cut(b, []byte{0})
		return string(b)
	}
	return text(st.Mntonname[:]) == path && text(st.Mntfromname[:]) == "ocifs"
}

// detach takes a mount away from its path at once.
func detach(path string) error { return unix.Unmount(path, unix.MNT_FORCE) }

// detachIdle takes a mount away if nobody uses it.
func detachIdle(path string) error { return unix.Unmount(path, 0) }
