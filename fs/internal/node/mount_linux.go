package node

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// directMount says that mount(2) is called directly, which only root may do. Others use
// fusermount3.
var directMount = os.Geteuid() == 0

// directMountFlags are the flags for mount(2) that correspond to the options for fusermount3.
func directMountFlags(readOnly bool) uintptr {
	const flags = syscall.MS_NOSUID | syscall.MS_NODEV
	if readOnly {
		return flags | syscall.MS_RDONLY
	}
	return flags
}

// mountOptions leaves permission checks to the nodes. With default_permissions the kernel would
// answer EACCES for a directory of mode 0555, where the true answer is EROFS, and would keep the
// files of an image from users who may read the mount.
func mountOptions(_ string, readOnly bool) []string {
	if readOnly && !directMount {
		return []string{"ro"}
	}
	return nil
}

// sourceName is what the kernel lists as the source.
func sourceName(source string) string {
	if source == "" {
		return FSType
	}
	return source
}

// waitMount doesn't wait: go-fuse has the kernel's first request answered when NewServer returns.
// Its WaitMount opens a file of the mount. A process that is killed with a file of its own mount
// open never ends: its exit waits for an answer to FLUSH, and only this process could give it
// (seen on 6.18: a daemon that was killed as soon as it answered, and its mount, hung for ever).
// The file is there for programs that look at their own mount, which this one never does.
func waitMount(*fuse.Server) error { return nil }

// closeOnExec keeps /dev/fuse from child processes. If a child outlived the daemon, the dead
// mount would wait instead of failing.
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

// stackDepth gives how many file systems, with this one, are stacked on that of file, if reads of
// file pass through. The kernel allows two (FILESYSTEM_MAX_STACK_DEPTH). At a depth of two it
// mounts no overlayfs over this mount. At a depth of one it refuses to pass reads through to a
// file system that is stacked itself. statfs doesn't say whether a FUSE file system is stacked,
// so it counts as stacked.
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

// canPassThrough tries whether the kernel may read file without this process.
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
