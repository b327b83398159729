package node

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Root mounts without a helper; everyone else by fusermount3.
var directMount = os.Geteuid() == 0

// directMountFlags are for mount(2), which takes them for what fusermount3 takes as
// options.
func directMountFlags(readOnly bool) uintptr {
	const flags = syscall.MS_NOSUID | syscall.MS_NODEV
	if readOnly {
		return flags | syscall.MS_RDONLY
	}
	return flags
}

// mountOptions leaves the checks of permissions to the kernel where nothing can be
// written. Where something can, its nodes check: in a directory of mode 0555 the
// kernel tells a user EACCES, and what is true is EROFS.
func mountOptions(readOnly bool) []string {
	switch {
	case !readOnly:
		return nil
	case directMount:
		return []string{"default_permissions"}
	}
	return []string{"ro", "default_permissions"}
}

// closeOnExec keeps /dev/fuse from children: one that outlives the daemon would
// keep the dead mount waiting instead of failing.
func closeOnExec() {
	const fds = "/proc/self/fd"
	entries, err := os.ReadDir(fds)
	if err != nil {
		return
	}
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(fds, e.Name())); err == nil && to == "/dev/fuse" {
			if fd, err := strconv.Atoi(e.Name()); err == nil {
				unix.CloseOnExec(fd)
			}
		}
	}
}

// stackDepth gives how many file systems, this one counted, are stacked on the one that
// file is on, if reads of file pass through. The kernel allows two (FILESYSTEM_MAX_STACK_DEPTH):
// at a depth of two it mounts no overlayfs over this mount, at a depth of one it refuses to
// pass reads through to a file system that is itself stacked. statfs doesn't tell whether
// a FUSE file system is stacked, so any is taken to be.
func stackDepth(file string) int {
	var st unix.Statfs_t
	if err := unix.Statfs(file, &st); err != nil {
		return 1
	}
	switch int64(st.Type) {
	case unix.OVERLAYFS_SUPER_MAGIC, unix.ECRYPTFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC:
		return 2
	}
	return 1
}

// canPassThrough asks the kernel whether it may read file without asking us.
func canPassThrough(s *fuse.Server, file string) bool {
	if file == "" {
		return false
	}
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	id, errno := s.RegisterBackingFd(&fuse.BackingMap{Fd: int32(f.Fd())})
	if errno != 0 {
		return false
	}
	return s.UnregisterBackingFd(id) == 0
}
