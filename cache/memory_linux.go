package cache

import "golang.org/x/sys/unix"

// inMemory says whether the files of a directory are in memory (statfs(2): TMPFS_MAGIC,
// RAMFS_MAGIC).
func inMemory(dir string) bool {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false // who writes there is told
	}
	return st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC
}
