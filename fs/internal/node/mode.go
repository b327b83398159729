package node

import (
	"context"
	"math"

	"github.com/ocifs/ocifs/fs/internal/caller"
)

// Content is an open file. It is safe for concurrent use.
type Content interface {
	// ReadAt reads for a caller: less than len(p) bytes is the end of the file. It may wait for
	// the network, bounds its own waits, and ends with ctx.
	ReadAt(ctx context.Context, by caller.Caller, p []byte, off int64) (int, error)
	// Way gives how the kernel reads the file; it is asked once.
	Way() Way
	Close()
}

// Way is how the kernel reads an open file.
type Way struct {
	Mode Mode
	Fd   int // the descriptor of the file that reads pass through to, in mode Passthrough
	// Pages tells the pages that the kernel keeps of this file from those of another one that
	// stood here, such as a cache file that was damaged. 0: any pages will do.
	Pages uint64
}

// Mode is one of three ways in which the kernel reads an open file.
type Mode int

const (
	// Direct asks for each read. The kernel keeps nothing, and a read that waits can be
	// interrupted: for what isn't there yet, and for what grows.
	Direct Mode = iota
	// Cached reads through the kernel's page cache, which outlives the handle: for what can't
	// change.
	Cached
	// Passthrough lets the kernel read the cache file without asking.
	Passthrough
)

// UnverifiedPages is the Way.Pages of what is shown before it was verified: a program that
// maps it brings pages into the cache that mustn't be kept.
const UnverifiedPages = math.MaxUint64

// Bytes is Content that is at hand, and can't change.
type Bytes []byte

func (b Bytes) ReadAt(_ context.Context, _ caller.Caller, p []byte, off int64) (int, error) {
	if off >= int64(len(b)) {
		return 0, nil
	}
	return copy(p, b[off:]), nil
}

func (b Bytes) Way() Way { return Way{Mode: Cached} }
func (b Bytes) Close()   {}
