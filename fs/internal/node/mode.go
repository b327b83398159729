package node

import (
	"context"
	"math"
	"syscall"

	"github.com/ocifs/ocifs/fs/internal/caller"
)

// Content is an open file. It is safe for concurrent use.
type Content interface {
	// ReadAt reads for a caller. Less than len(p) bytes is the end of the file. It may wait
	// for the network, limits its own waits, and ends with ctx.
	ReadAt(ctx context.Context, by caller.Caller, p []byte, off int64) (int, error)
	// Way gives how the kernel reads the file. It is called once.
	Way() Way
	Close()
}

// asked is a Content that programs ask for something, by ioctl(2). Ask waits for nothing long, and
// gives ENOTTY for a command that it doesn't know.
type asked interface {
	Ask(ctx context.Context, by caller.Caller, command uint32, question []byte) syscall.Errno
}

// Way says how the kernel reads an open file.
type Way struct {
	Mode Mode
	// Fd is the descriptor of the file to which reads pass through, in mode Passthrough.
	Fd int
	// Pages is different for each file that stood here, such as a cache file that was
	// damaged. The kernel keeps its pages of the file as long as Pages is the same. 0: any
	// pages will do.
	Pages uint64
}

// Mode is one of three ways in which the kernel reads an open file.
type Mode int

const (
	// Direct sends each read to this process. The kernel keeps nothing, and a waiting read
	// can be interrupted. It is for bytes that aren't there yet, and for files that grow.
	Direct Mode = iota
	// Cached reads through the kernel's page cache, which outlives the handle. It is for
	// bytes that don't change.
	Cached
	// Passthrough lets the kernel read the cache file without this process.
	Passthrough
)

// UnverifiedPages is the Way.Pages of bytes that are shown before they are verified. A program
// that maps such bytes brings pages into the cache that the kernel mustn't keep.
const UnverifiedPages = math.MaxUint64

// Bytes is a Content in memory that doesn't change.
type Bytes []byte

func (b Bytes) ReadAt(_ context.Context, _ caller.Caller, p []byte, off int64) (int, error) {
	if off >= int64(len(b)) {
		return 0, nil
	}
	return copy(p, b[off:]), nil
}

func (b Bytes) Way() Way { return Way{Mode: Cached} }
func (b Bytes) Close()   {}
