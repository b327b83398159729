package fs

import (
	"context"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocifs/ocifs/fs/upload"
)

// programOf is the program that the kernel asks for; nil where it doesn't say.
func programOf(ctx context.Context) upload.Program {
	c, ok := fuse.FromContext(ctx)
	if !ok || c.Pid == 0 {
		return nil
	}
	return program{processOfThread(int(c.Pid))}
}

// program is a process, by its number.
type program struct{ pid int }

// intent is what a program looks a name up for.
type intent int

const (
	unknown intent = iota
	looks          // at what is there
	makes          // something new of that name, which mustn't be there
)

// intentOf says what the program that the kernel asks for wants of a name. A lookup
// doesn't tell: the kernel makes the same one for stat(2) and for open(2) with O_EXCL.
func intentOf(ctx context.Context) intent {
	c, ok := fuse.FromContext(ctx)
	if !ok || c.Pid == 0 {
		return unknown
	}
	return intentOfThread(int(c.Pid))
}
