// Package caller tells what the system says of the program that asks for something.
//
// # Nouns
//
// A Caller is the thread for which the kernel sends a request. A Process is the program that
// the thread is of. A job is a process group: all that a shell starts for one line. An
// Intent is the reason for which a thread looks a name up.
//
// # The hard part
//
// A request of FUSE carries the number of a thread and the user's. The rest stands in /proc,
// which may hide it, and the thread may have ended meanwhile. Each function says what it
// answers then.
package caller

import (
	"golang.org/x/sys/unix"
)

// Caller is the thread for which the kernel sends a request. The zero value is the mount
// itself, which reads metadata for its own use. It is comparable.
type Caller struct {
	UID uint32
	// Thread is the number of the thread. 0: the thread is in a PID namespace that this
	// process doesn't see, or it is one of the kernel's own.
	Thread uint32
	// Program says that a request of the kernel was sent; false: the mount itself asks.
	Program bool
}

// IsRoot says whether the caller may do anything: the mount itself may.
func (c Caller) IsRoot() bool { return !c.Program || c.UID == 0 }

// Strangers is the job of all programs whose process group can't be told: those of another
// PID namespace, and the kernel's own threads.
const Strangers = 0

// Job gives the number of the caller's job: its process group, or Strangers.
func (c Caller) Job() int {
	if c.Thread == 0 {
		return Strangers
	}
	group, err := unix.Getpgid(int(c.Thread))
	if err != nil { // the thread has ended
		return Strangers
	}
	return group
}

// Process is a process, by its number.
type Process struct{ pid int }

// Process gives the process that the caller is of. ok is false if the kernel doesn't tell the
// thread.
func (c Caller) Process() (p Process, ok bool) {
	if c.Thread == 0 {
		return Process{}, false
	}
	return Process{pidOf(int(c.Thread))}, true
}

// Describe names the caller's process for a person, and its job by the process that leads it.
func (c Caller) Describe() (process, job string) {
	group := c.Job()
	if group == Strangers {
		return "a program of another PID namespace, or one that has ended,", "all such programs together"
	}
	pid, name := processOf(int(c.Thread))
	if pid == group {
		return called(pid, name), "it and what it started"
	}
	leader, leads := processOf(group)
	return called(pid, name), "the job of " + called(leader, leads)
}
