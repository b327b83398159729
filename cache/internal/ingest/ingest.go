// Package ingest brings one blob into a file, and verifies it. It knows no cache: where
// the file is, who waits for it, and what becomes of it is the caller's.
//
// An Ingest is one blob on its way. An Attempt is one try to bring the whole of it. A
// claim is bytes that one fetch is to bring. A gap is bytes that nobody brings yet. The
// front is the offset up to which everything has come.
//
// The first fetch is for all that is missing. Helpers fetch parts beside it where one
// connection turns out to hold a large blob up: parts.go has the rules. A fetch that reaches a part
// that the origin hasn't answered yet takes it over; one that reaches a part that comes is cut off.
// So an origin that refuses parts, or has no time for them, sends nothing twice. The hash runs
// behind the front and reads the file, so that bytes may come in any order; where many blobs come at
// once, and lanes don't hash them together, each fetch hashes what it brings (hasher.go). What an
// earlier ingest left is known by where the file has no holes; no record is kept.
//
// A blob that doesn't match is fetched once more from the start, by one connection, where
// the fault may be what was left, how the parts were put together, or the origin.
//
// # Locks
//
// Attempt.mu guards the gaps and the claims. The locks of signal, gate and meter are taken inside
// it or alone. Nothing is waited for under any of them, and no function of the caller is
// called under them. hasher.mu is held while bytes are read and hashed, and while those wait for
// their turn in the lanes, so a fetch only tries it. Only the lock of the lanes is taken inside it.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache/internal/lanes"
)

// Errors of an ingest, for errors.Is.
var (
	// ErrMismatch: the bytes that came don't have the digest or the size that they should.
	ErrMismatch = errors.New("content doesn't match its digest")
	// ErrNoPlace is what Blob.Part gives where no connection is free. It is asked again.
	ErrNoPlace = errors.New("no connection is free")
)

// Fetch gives the bytes of a blob from offset on: length of them, or all where length is
// negative. The context ends when nobody wants them any more.
type Fetch func(ctx context.Context, offset, length int64) (io.ReadCloser, error)

// Blob is what is to come.
type Blob struct {
	Digest digest.Digest
	Size   int64       // in bytes; -1: not known
	Fetch  Fetch       // brings what is missing
	Part   Fetch       // brings a part beside others; nil: the blob comes by one connection
	Doubt  func() bool // is told of a mismatch, and says whether another origin is asked then; nil: no
}

// Options says how a blob comes. The zero value is useful.
type Options struct {
	Parts   int                                            // connections for one blob at most; below 2: one
	Write   func(f *os.File, b []byte, offset int64) error // writes to the file; nil: WriteAt
	Emptied func()                                         // is told that the file was emptied for another attempt; nil: nobody is
	Arrived *atomic.Int64                                  // bytes of all ingests that share it, in which helpers see what a line carries; nil: this one's own
	Coming  *atomic.Int64                                  // blobs that come in all ingests that share it; nil: this one's own
	Catch   func(do func() error) error                    // runs a goroutine's work and makes an error of its panic; nil: a panic is fatal
	Log     *slog.Logger                                   // nil: silent
}

// Ingest is one blob on its way into a file. It is safe for concurrent use.
type Ingest struct {
	blob Blob
	o    Options

	done    atomic.Int64            // bytes that are in the file
	attempt atomic.Pointer[Attempt] // nil: no bytes can be read
	changed signal                  // done, attempt, or an attempt's claims have changed
	gate    gate                    // closed while the wire is held
}

// New gives the ingest of a blob. Nothing is fetched before Run.
func New(b Blob, o Options) *Ingest {
	if o.Write == nil {
		o.Write = func(f *os.File, b []byte, offset int64) error {
			_, err := f.WriteAt(b, offset)
			return err
		}
	}
	if o.Emptied == nil {
		o.Emptied = func() {}
	}
	if o.Arrived == nil {
		o.Arrived = new(atomic.Int64)
	}
	if o.Coming == nil {
		o.Coming = new(atomic.Int64)
	}
	if o.Catch == nil {
		o.Catch = func(do func() error) error { return do() }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Ingest{blob: b, o: o}
}

// handsOver says whether fetches hand their bytes over to be hashed, as hasher says: as many blobs come
// as there are processors, and two at least, but not so many that their followers share turns of lanes.
func (in *Ingest) handsOver() bool {
	n := int(in.o.Coming.Load())
	return n >= max(2, runtime.GOMAXPROCS(0)) && !lanes.Gather(n)
}

// Done is how many bytes are in the file.
func (in *Ingest) Done() int64 { return in.done.Load() }

// Attempt gives what can be read by now; nil: nothing, or what came turned out to be
// wrong.
func (in *Ingest) Attempt() *Attempt { return in.attempt.Load() }

// Changed is closed with the next change. Take it before looking at what may change.
func (in *Ingest) Changed() <-chan struct{} { return in.changed.next() }

// Hold has the ingest read no more from the wire, until Resume or the end of Run's
// context. A read that is under way gives one buffer more for each connection.
func (in *Ingest) Hold() { in.gate.shut() }

// Resume ends Hold.
func (in *Ingest) Resume() { in.gate.open() }

// Run brings what is missing of the blob into f, which may have some of it, and verifies
// the whole. It gives the blob's size. It calls coming in each attempt when the origin has
// begun to send; not where nothing is missing. An error leaves in f what came, which may
// be gone on with, but for ErrMismatch. Run is called once.
func (in *Ingest) Run(ctx context.Context, f *os.File, coming func()) (int64, error) {
	for parts, first := in.o.Parts, true; ; parts, first = 1, false {
		a, err := in.begin(f, coming)
		if err != nil {
			return 0, err
		}
		had := in.done.Load() > 0
		size, err := a.run(ctx, parts)
		if !errors.Is(err, ErrMismatch) {
			return size, err
		}
		in.attempt.Store(nil) // what was seen of it was wrong
		doubted := in.blob.Doubt != nil && in.blob.Doubt()
		if !doubted && !(first && (had || a.divided())) {
			return 0, err
		}
		in.o.Log.Warn("what came of a blob didn't fit, and is fetched anew", "digest", in.blob.Digest, "cause", err)
		if err := f.Truncate(0); err != nil {
			return 0, fmt.Errorf("empty a partial file: %w", err)
		}
		in.o.Emptied()
	}
}

// gate is passed while it is open. The zero value is open.
type gate struct {
	mu     sync.Mutex    // guards closed
	closed chan struct{} // closed when the gate opens; nil: it is open
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed == nil {
		g.closed = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

// pass waits until the gate is open, or ctx ends.
func (g *gate) pass(ctx context.Context) error {
	for {
		g.mu.Lock()
		closed := g.closed
		g.mu.Unlock()
		if closed == nil {
			return ctx.Err()
		}
		select {
		case <-closed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
