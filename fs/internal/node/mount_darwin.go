package node

import (
	"path/filepath"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const directMount = false

func directMountFlags(bool) uintptr { return 0 }

// mountOptions are macFUSE's own: the Finder shows the volume by the name of its mountpoint, and its
// ._ and .DS_Store files don't get into upload/. Permission checks are as on Linux.
func mountOptions(mountpoint string, readOnly bool) []string {
	options := []string{"volname=" + filepath.Base(mountpoint), "noappledouble"}
	if readOnly {
		return append(options, "ro")
	}
	return options
}

func sourceName(string) string { return FSType }

// waitMount waits until macFUSE's helper has mounted.
func waitMount(s *fuse.Server) error { return s.WaitMount() }

func closeOnExec() {}

// stackDepth and canPassThrough say that macOS has no passthrough.
func stackDepth(string) int { return 1 }

func canPassThrough(*fuse.Server, string) bool { return false }
