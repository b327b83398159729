package main

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// examineFUSE looks at what a mount needs of this system.
func (d *diagnosis) examineFUSE(ctx context.Context) {
	d.do(ctx, "device", func(context.Context) check {
		const path = "/Library/Filesystems/macfuse.fs"
		if _, err := os.Stat(path); err != nil {
			return wrong("install it, and allow its system extension: https://macfuse.github.io", "there is no macFUSE")
		}
		return fine("macFUSE is installed")
	})
}

// passthrough: macOS has no such thing, and nothing can be done about it.
func passthrough(bool) check { return check{} }

// kernel names the system.
func kernel() string {
	version, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return "macOS"
	}
	return "macOS " + version
}

// ocifsMounts lists where an ocifs is mounted. It touches none of them.
func ocifsMounts() (paths []string) {
	n, err := unix.Getfsstat(nil, unix.MNT_NOWAIT)
	if err != nil {
		return nil
	}
	mounts := make([]unix.Statfs_t, n)
	if n, err = unix.Getfsstat(mounts, unix.MNT_NOWAIT); err != nil {
		return nil
	}
	for _, m := range mounts[:min(n, len(mounts))] {
		if unix.ByteSliceToString(m.Mntfromname[:]) == "ocifs" {
			paths = append(paths, unix.ByteSliceToString(m.Mntonname[:]))
		}
	}
	return paths
}
