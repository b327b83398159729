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
