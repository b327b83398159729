package fs

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocifs/ocifs/fs/upload"
)

// programOf gives the program that the kernel asks for; nil: the kernel doesn't say.
func programOf(ctx context.Context) upload.Program {
	if thread, ok := threadOf(ctx); ok {
		return program{processOfThread(thread)}
	}
	return nil
}

// threadOf gives the thread that the kernel asks for. ok is false if the kernel doesn't say.
func threadOf(ctx context.Context) (thread int, ok bool) {
	c, ok := fuse.FromContext(ctx)
	if !ok || c.Pid == 0 {
		return 0, false
	}
	return int(c.Pid), true
}

// program is a process, by its number.
type program struct{ pid int }

// intent is the reason for which a program looks a name up.
type intent int

const (
	unknown intent = iota
	looks          // it wants what is there
	makes          // it makes the name anew, and fails if it is there
)

// intentOf gives the intent of the program that the kernel asks for. A lookup itself doesn't
// tell: the kernel makes the same one for stat(2) and for open(2) with O_EXCL.
func intentOf(ctx context.Context) intent {
	if thread, ok := threadOf(ctx); ok {
		return intentOfThread(thread)
	}
	return unknown
}
