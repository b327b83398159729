package caller

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// The process is named, and not the thread that asks; the job is named by who leads
// it.
func TestProcessesAreNamed(t *testing.T) {
	self := Caller{Thread: uint32(os.Getpid()), Program: true}
	pid, name := processOf(os.Getpid())
	if pid != os.Getpid() || !strings.HasPrefix(name, "caller.test") {
		t.Errorf("this is %d, %q", pid, name)
	}
	if _, name := processOf(1 << 30); name != "" {
		t.Errorf("who isn't there is called %q", name)
	}
	if (Caller{}).Job() != Strangers || (Caller{Thread: 1 << 30}).Job() != Strangers {
		t.Error("who can't be told has a job")
	}
	if got := self.Job(); got != syscall.Getpgrp() {
		t.Errorf("the job of this is %d, want %d", got, syscall.Getpgrp())
	}
	who, of := self.Describe()
	if !strings.HasPrefix(who, "caller.test (process ") || syscall.Getpgrp() != os.Getpid() && !strings.HasPrefix(of, "the job of ") {
		t.Errorf("%s, %s", who, of)
	}
}
