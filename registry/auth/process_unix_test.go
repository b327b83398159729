//go:build unix

package auth

import "syscall"

func kill(id int) error { return syscall.Kill(id, syscall.SIGKILL) }

// gone says whether no process has an id.
func gone(id int) bool { return syscall.Kill(id, 0) == syscall.ESRCH }

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }
