package fs

import "github.com/hanwen/go-fuse/v2/fuse"

const (
	directMount      = false
	directMountFlags = 0
)

func mountOptions() []string { return []string{"ro", "default_permissions"} }

func closeOnExec() {}

// canPassThrough: macOS has no such thing.
func canPassThrough(*fuse.Server, string) bool { return false }
