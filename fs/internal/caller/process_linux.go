package caller

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// pidOf gives the process of a thread. If that isn't known, because the thread has ended or /proc
// hides it, it gives the number of the thread.
func pidOf(thread int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte("Tgid:")); ok {
			if n, err := strconv.Atoi(string(bytes.TrimSpace(value))); err == nil && n > 0 {
				return n
			}
		}
	}
	return thread
}

// processOf gives the process of a thread, and the process's name; "": the name isn't known. The
// name of the thread would say little to a person.
func processOf(thread int) (pid int, name string) {
	pid = pidOf(thread)
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return pid, string(bytes.TrimSpace(comm))
}

// Ended says whether the process has ended, even if its parent hasn't waited for it. If the state
// of the process can't be read, it says no.
func (p Process) Ended() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return ended(stat)
}

// ended says whether a stat file of /proc is that of a process that has ended.
func ended(stat []byte) bool {
	fields := afterName(stat)
	return len(fields) > 0 && (fields[0][0] == 'Z' || fields[0][0] == 'X')
}

// afterName gives the fields of a stat file of /proc after the name of the program. The name
// stands in parentheses, and may contain anything.
func afterName(stat []byte) [][]byte {
	return bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
}
