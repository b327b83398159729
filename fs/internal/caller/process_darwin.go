package caller

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// pidOf gives process itself, because macOS gives processes in its requests, not threads.
func pidOf(process int) int { return process }

// processOf gives a process and its name; "": the name isn't known.
func processOf(process int) (pid int, name string) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", process)
	if err != nil {
		return process, ""
	}
	return process, unix.ByteSliceToString(info.Proc.P_comm[:])
}

// Ended says whether the process is gone.
func (p Process) Ended() bool { return errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) }
