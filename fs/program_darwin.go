package fs

import (
	"errors"
	"syscall"
)

// processOfThread: macOS names processes in its requests.
func processOfThread(thread int) int { return thread }

// Ended says whether the process is gone.
func (p program) Ended() bool { return errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) }

// intentOfThread: macOS tells nobody what a thread asked for.
func intentOfThread(int) intent { return unknown }
