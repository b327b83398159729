//go:build unix

package cache

import "golang.org/x/sys/unix"

// diskSpace gives the free bytes of the disk that dir is on, and all it has.
func diskSpace(dir string) (free, size int64, err error) {
	u, err := diskUsage(dir)
	return u.Free, u.Size, err
}

func diskUsage(dir string) (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Usage{}, err
	}
	block := int64(st.Bsize)
	return Usage{Size: int64(st.Blocks) * block, Used: int64(st.Blocks-st.Bfree) * block, Free: int64(st.Bavail) * block}, nil
}
