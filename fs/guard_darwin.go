package fs

import "golang.org/x/sys/unix"

// processOf gives a process, and its name; "" where that can't be told. Callers are
// processes here.
func processOf(process int) (pid int, name string) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", process)
	if err != nil {
		return process, ""
	}
	return process, unix.ByteSliceToString(info.Proc.P_comm[:])
}
