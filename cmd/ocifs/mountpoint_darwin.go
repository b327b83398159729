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
	m = mountedFrom(st)
	return m, m.source == "ocifs"
}

// mountedFrom gives a mount from its entry in the kernel's list.
func mountedFrom(st unix.Statfs_t) mounted {
	name := unix.ByteSliceToString(st.Mntonname[:])
	return mounted{mountpoint: name, source: unix.ByteSliceToString(st.Mntfromname[:]), root: "/", device: name, owner: int(st.Owner)}
}

// isFUSEDevice says that macFUSE mounts a device in another way.
func isFUSEDevice(int) bool { return false }

// ocifsParts lists the mounts that are ocifs'. It touches none of them.
func ocifsParts() (all []mounted) {
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return nil
	}
	mounts := make([]unix.Statfs_t, n)
	if n, err = unix.Getfsstat(mounts, unix.MNT_NOWAIT); err != nil {
		return nil
	}
	for _, m := range mounts[:min(n, len(mounts))] {
		if m := mountedFrom(m); m.source == "ocifs" {
			all = append(all, m)
		}
	}
	return all
}

// foreignMounts lists nothing: macFUSE has no devices that others mount.
func foreignMounts() []mounted { return nil }

// detach takes a mount away from its path at once.
func detach(path string) error { return unix.Unmount(path, unix.MNT_FORCE) }

// detachIdle takes a mount away if nobody uses it.
func detachIdle(path string) error { return unix.Unmount(path, 0) }
