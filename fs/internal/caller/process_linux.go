package caller

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
)

// pidOf gives the process that a thread is of. A thread whose process can't be told, as it has
// ended or /proc hides it, is taken for the process.
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

// processOf gives the process that a thread is of, and its name, or "". Threads have names of
// their own, which say little to a person.
func processOf(thread int) (pid int, name string) {
	pid = pidOf(thread)
	comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return pid, string(bytes.TrimSpace(comm))
}

// Ended says whether the process has ended, whether or not its parent has waited for it. A
// process whose state can't be read hasn't.
func (p Process) Ended() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return ended(stat)
}

// ended says whether a stat file of /proc is that of a process which has ended.
func ended(stat []byte) bool {
	fields := afterName(stat)
	return len(fields) > 0 && (fields[0][0] == 'Z' || fields[0][0] == 'X')
}

// afterName gives the fields of a stat file of /proc behind the name of the program, which
// stands in parentheses and may have anything in it.
func afterName(stat []byte) [][]byte {
	return bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
}
