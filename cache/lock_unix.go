//go:build unix

package cache

import (
	"errors"
	"os"
	"syscall"
)

// flock is flock(2). A test puts a file system without locks in its place.
var flock = syscall.Flock

// tryLock locks f against other processes, or gives EWOULDBLOCK. Any other error says that
// the lock can't be had: ENOLCK of NFS without a lock daemon, ENOSYS or EOPNOTSUPP of
// Lustre that is mounted without -o flock. The lock ends with the descriptor, so a crash
// leaves none.
func tryLock(f *os.File) error { return lock(f, syscall.LOCK_EX) }

// tryLockShared locks f against those who lock it for themselves alone.
func tryLockShared(f *os.File) error { return lock(f, syscall.LOCK_SH) }

func lock(f *os.File, how int) error {
	for {
		// A signal may interrupt even what doesn't wait, where a server is asked.
		if err := flock(int(f.Fd()), how|syscall.LOCK_NB); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func unlock(f *os.File) { _ = flock(int(f.Fd()), syscall.LOCK_UN) }
