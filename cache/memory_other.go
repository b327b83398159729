//go:build !linux

package cache

// inMemory says whether the files of a directory are in memory. macOS has no such file
// system unless somebody makes one.
func inMemory(string) bool { return false }
