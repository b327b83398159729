package metrics

import (
	"bytes"
	"os"
	"strconv"
)

// fdDirectory has an entry for each open descriptor (proc_pid_fd(5)).
const fdDirectory = "/proc/self/fd"

// residentBytes reads the second field of /proc/self/statm, in pages (proc_pid_statm(5)).
func residentBytes() (n int64, ok bool) {
	b, err := os.ReadFile("/proc/self/statm")
	fields := bytes.Fields(b)
	if err != nil || len(fields) < 2 {
		return 0, false
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err == nil
}
