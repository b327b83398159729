package main

import (
	"golang.org/x/sys/unix"
)

// mountAt gives the mount on path, if it is ocifs'.
func mountAt(path string) (m mounted, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil || unix.ByteSliceToString(st.Mntonname[:]) != path {
		return mounted{}, false
	}
	m = mounted{path, unix.ByteSliceToString(st.Mntfromname[:])}
	return m, m.source == "ocifs"
}

// isFUSEDevice says that macFUSE mounts a device in another way.
func isFUSEDevice(int) bool { return false }

// ocifsMounts lists the mounts that are ocifs'. It touches none of them.
func ocifsMounts() (all []mounted) {
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return nil
	}
	mounts := make([]unix.Statfs_t, n)
	if n, err = unix.Getfsstat(mounts, unix.MNT_NOWAIT); err != nil {
		return nil
	}
	for _, m := range mounts[:min(n, len(mounts))] {
		if source := unix.ByteSliceToString(m.Mntfromname[:]); source == "ocifs" {
			all = append(all, mounted{unix.ByteSliceToString(m.Mntonname[:]), source})
		}
	}
	return all
}

// detach takes a mount away from its path at once.
func detach(path string) error { return unix.Unmount(path, unix.MNT_FORCE) }

// detachIdle takes a mount away if nobody uses it.
func detachIdle(path string) error { return unix.Unmount(path, 0) }
