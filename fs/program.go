package fs

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocifs/ocifs/fs/upload"
)

// programOf gives the program that the kernel asks for; nil: the kernel doesn't say.
func programOf(ctx context.Context) upload.Program {
	c, ok := fuse.FromContext(ctx)
	if !ok || c.Pid == 0 {
		return nil
	}
	return program{processOfThread(int(c.Pid))}
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
	c, ok := fuse.FromContext(ctx)
	if !ok || c.Pid == 0 {
		return unknown
	}
	return intentOfThread(int(c.Pid))
}
