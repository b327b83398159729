package node

import "github.com/hanwen/go-fuse/v2/fuse"

const directMount = false

func directMountFlags(bool) uintptr { return 0 }

func mountOptions(readOnly bool) []string {
	if readOnly {
		return []string{"ro", "default_permissions"}
	}
	return nil
}

func closeOnExec() {}

// stackDepth and canPassThrough say that macOS has no passthrough.
func stackDepth(string) int { return 1 }

func canPassThrough(*fuse.Server, string) bool { return false }
