// Package caller finds out what the system knows of the program that makes a request.
//
// # Nouns
//
// A Caller is the thread for which the kernel sends a request. A Process is the program of the
// thread. A job is a process group: everything that a shell starts for one line. An Intent is the
// reason for which a thread looks a name up.
//
// # The hard part
//
// A FUSE request has the number of a thread, and the user's. Everything else is in /proc, which
// may hide it, and the thread may have ended meanwhile. Each function says what it gives then.
package caller

import (
	"golang.org/x/sys/unix"
)

// Caller is the thread for which the kernel sends a request. The zero value is the mount
// itself, which reads metadata for its own use. It is comparable.
type Caller struct {
	UID uint32
	// Thread is the number of the thread. 0: the thread is in a PID namespace that this
	// process doesn't see, or it is a kernel thread.
	Thread uint32
	// Program says that the caller is a program, with a request of the kernel; false: it is
	// the mount itself.
	Program bool
}

// IsRoot says whether the caller may do everything: root and the mount itself may.
func (c Caller) IsRoot() bool { return !c.Program || c.UID == 0 }

// Strangers is the job of all programs whose process group isn't known: those in another PID
// namespace, those that have ended, and kernel threads.
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

// Process gives the process of the caller. ok is false if the kernel didn't give the thread.
func (c Caller) Process() (p Process, ok bool) {
	if c.Thread == 0 {
		return Process{}, false
	}
	return Process{pidOf(int(c.Thread))}, true
}

// Describe gives names for a person: of the caller's process, and of its job, named after the
// process that leads it.
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
