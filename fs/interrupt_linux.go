package fs

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

func signalSet(signals ...syscall.Signal) (set uint64) {
	for _, s := range signals {
		set |= 1 << (s - 1)
	}
	return set
}

// Signals that end no program, or only stop it for a while, and those that end one
// only if it doesn't catch them.
var (
	harmless = signalSet(syscall.SIGURG, syscall.SIGCHLD, syscall.SIGWINCH, syscall.SIGCONT,
		syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	harmlessIfCaught = signalSet(syscall.SIGPROF, syscall.SIGVTALRM)
)

// interrupted says whether a thread has a signal waiting that it is going to notice.
// Where that can't be told, it has.
func interrupted(thread uint32) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if thread == 0 || err != nil { // of another PID namespace, hidden or gone
		return true
	}
	return noticed(b)
}

// noticed says what interrupted does, of a status file of /proc.
func noticed(status []byte) bool {
	sets := map[string]uint64{}
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch name := string(name); name {
		case "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt":
			set, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
			if err != nil {
				return true
			}
			sets[name] = set
		}
	}
	if len(sets) != 5 {
		return true
	}
	pending := (sets["SigPnd"] | sets["ShdPnd"]) &^ sets["SigBlk"] &^ sets["SigIgn"]
	return pending&^harmless&^(harmlessIfCaught&sets["SigCgt"]) != 0
}

// killed says whether a thread is on its way out because of a signal: what it wrote
// so far may be half of what it was going to write.
func killed(thread uint32) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", thread))
	return err == nil && killedBySignal(b)
}

// killedBySignal says what killed does, of a stat file of /proc.
func killedBySignal(stat []byte) bool {
	const signaled = 0x400 // PF_SIGNALED of the kernel's linux/sched.h
	// The name of the program, in parentheses, may have anything in it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const flags = 6 // after the name: state, parent, group, session, terminal, its group
	if len(fields) <= flags {
		return false
	}
	f, err := strconv.ParseUint(string(fields[flags]), 10, 64)
	return err == nil && f&signaled != 0
}
