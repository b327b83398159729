package fs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// processOf gives the process that a thread is of, and its name; "" where that can't
// be told, as it has ended or /proc hides it. Threads have names of their own, which
// say little to a person.
func processOf(thread int) (pid int, name string) {
	pid = thread
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte("Tgid:")); ok {
			if n, err := strconv.Atoi(string(bytes.TrimSpace(value))); err == nil && n > 0 {
				pid = n
			}
		}
	}
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return pid, string(bytes.TrimSpace(comm))
}
