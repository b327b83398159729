//go:build unix

package cache

import (
	"os"
	"syscall"
)

// tryLock locks f against other processes, or gives EWOULDBLOCK. The lock ends
// with the descriptor, so a crash leaves none.
func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// tryLockShared locks f against those who lock it for themselves alone.
func tryLockShared(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
}

func unlock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
