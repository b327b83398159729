package caller

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// pidOf gives the process: macOS names processes in its requests, not threads.
func pidOf(process int) int { return process }

// processOf gives a process, and its name; "" where that can't be told.
func processOf(process int) (pid int, name string) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", process)
	if err != nil {
		return process, ""
	}
	return process, unix.ByteSliceToString(info.Proc.P_comm[:])
}

// Ended says whether the process is gone.
func (p Process) Ended() bool { return errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) }
