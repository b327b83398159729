//go:build unix

package cache

import "golang.org/x/sys/unix"

// diskSpace gives the free bytes of the disk that dir is on, and all it has.
func diskSpace(dir string) (free, size int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}
