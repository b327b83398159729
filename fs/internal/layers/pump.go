package layers

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
)

// chunk is how many bytes are unpacked, and written to the cache, at once. The cost of a call is
// small against that of unpacking so much.
const chunk = 256 << 10

// pumpChunks is how many chunks of a pump there are: one is unpacked, one is written and scanned,
// and the others make up for the uneven speed of both.
const pumpChunks = 4

// errPumpClosed ends a pump whose reader has left.
var errPumpClosed = errors.New("nobody reads what is unpacked")

// pump unpacks in a goroutine of its own, while its reader writes and scans what was unpacked
// before. Unpacking takes most of the time, and so takes a processor for itself. One goroutine
// reads from a pump.
type pump struct {
	filled chan []byte   // chunks in order; closed after the last one
	free   chan []byte   // chunks to be filled
	left   chan struct{} // closed when the reader has left
	ended  chan struct{} // closed when the goroutine has ended
	err    error         // what ended the goroutine; set before filled is closed
}

// startPump starts a pump. unpack runs in the goroutine, and calls emit with what is to be read.
// panicked is told of a panic there; nil: nobody is told.
func startPump(unpack func(emit func(io.Reader) error) error, panicked func(cause any, stack []byte)) *pump {
	p := &pump{
		filled: make(chan []byte, pumpChunks), free: make(chan []byte, pumpChunks),
		left: make(chan struct{}), ended: make(chan struct{}),
	}
	for range pumpChunks {
		p.free <- nil // a small layer needs one
	}
	go func() {
		defer close(p.ended)
		defer close(p.filled)
		defer func() {
			if cause := recover(); cause != nil {
				p.err = fmt.Errorf("unpacking panicked: %v", cause)
				if panicked != nil {
					panicked(cause, debug.Stack())
				}
			}
		}()
		p.err = unpack(p.emit)
	}()
	return p
}

// emit fills chunks from r to its end.
func (p *pump) emit(r io.Reader) error {
	for {
		var b []byte
		select {
		case b = <-p.free:
		case <-p.left:
			return errPumpClosed
		}
		if b == nil {
			b = make([]byte, chunk)
		}
		b = b[:chunk]
		n := 0
		var err error
		for n < chunk && err == nil {
			var k int
			k, err = r.Read(b[n:])
			n += k
		}
		if n > 0 {
			p.filled <- b[:n] // there is room for all chunks
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// next gives the next chunk, and takes back the one that it gave before. It gives io.EOF after the
// last one.
func (p *pump) next(before []byte) ([]byte, error) {
	if before != nil {
		p.free <- before[:0:chunk]
	}
	b, ok := <-p.filled
	if ok {
		return b, nil
	}
	if p.err != nil {
		return nil, p.err
	}
	return nil, io.EOF
}

// close ends the goroutine, and waits for it.
func (p *pump) close() {
	close(p.left)
	<-p.ended
}

// tee reads from a pump, and has written each chunk before the first of its bytes is read.
type tee struct {
	from  *pump
	to    io.Writer
	chunk []byte // what from gave last
	left  []byte // of chunk: written, and not read yet
	err   error  // of every read from now on
}

func (t *tee) Read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	if len(t.left) == 0 {
		t.chunk, t.err = t.from.next(t.chunk)
		if t.err == nil {
			_, t.err = t.to.Write(t.chunk)
		}
		if t.err != nil {
			return 0, t.err
		}
		t.left = t.chunk
	}
	n := copy(p, t.left)
	t.left = t.left[n:]
	return n, nil
}
