package main

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A program that a daemon starts doesn't get the pipe of the report, so that nobody waits for that
// program.
func TestProgramsOfADaemonHaveNoReport(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd, err := syscall.Dup(int(w.Fd())) // inherited by children, as exec.Cmd.ExtraFiles are
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	t.Setenv(readyFD, strconv.Itoa(fd))
	keepReport()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("its descriptor has the flags %#x, %v; want FD_CLOEXEC", flags, err)
	}
}
