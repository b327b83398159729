package caller

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// signalSet gives a set of signals as /proc writes it: signal 1 is bit 0.
func signalSet(signals ...syscall.Signal) (set uint64) {
	for _, s := range signals {
		set |= 1 << (s - 1)
	}
	return set
}

var (
	// harmless are signals that end no program, or only stop it for a while.
	harmless = signalSet(syscall.SIGURG, syscall.SIGCHLD, syscall.SIGWINCH, syscall.SIGCONT,
		syscall.SIGSTOP, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	// harmlessIfCaught are signals that end a program only if it doesn't catch them.
	harmlessIfCaught = signalSet(syscall.SIGPROF, syscall.SIGVTALRM)
)

// interrupted says whether the caller has a pending signal that it will notice. If the caller's
// state can't be read, it says yes.
func (c Caller) interrupted() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.Thread))
	if c.Thread == 0 || err != nil {
		return true
	}
	return noticed(b)
}

// noticed says whether a status file of /proc shows a pending signal that its thread will notice.
// For a file without signals, it says yes.
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

// Killed says whether a signal is ending the caller, so that what it wrote may be incomplete. If
// the caller's state can't be read, it says no.
func (c Caller) Killed() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Thread))
	return c.Thread != 0 && err == nil && killedBySignal(b)
}

// killedBySignal says whether a stat file of /proc is that of a thread that a signal ends.
func killedBySignal(stat []byte) bool {
	const signaled = 0x400 // PF_SIGNALED of the kernel's linux/sched.h
	// flags is the index of the flags, after the name: state, parent, group, session,
	// terminal, its group, flags.
	const flags = 6
	fields := afterName(stat)
	if len(fields) <= flags {
		return false
	}
	f, err := strconv.ParseUint(string(fields[flags]), 10, 64)
	return err == nil && f&signaled != 0
}
