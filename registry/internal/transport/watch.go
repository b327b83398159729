package transport

import (
	"io"
	"sync"
	"time"
)

// ErrLate is the error of a request that was sent and not answered in time. It is a time-out, as
// net.Error has it.
var ErrLate error = late{}

type late struct{}

func (late) Error() string   { return "no answer came in time" }
func (late) Timeout() bool   { return true }
func (late) Temporary() bool { return true }

// watch ends a request that is late, until its answer begins. It leaves no timer behind once it
// has ended. It is safe for concurrent use.
type watch struct {
	end func(error) // cancels the request

	mu       sync.Mutex  // guards the fields below; end is called under it
	timer    *time.Timer // nil: there was no deadline yet
	deadline time.Time   // of the step under way; zero: there is none
	missed   error       // the error of a request that misses deadline
	late     error       // the error of the deadline that was missed; nil: none was
	over     bool        // the answer began, or the request was ended
}

// within gives the request so long for the next step. missed is its error where that is over.
func (w *watch) within(d time.Duration, missed error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || d <= 0 {
		return
	}
	w.deadline, w.missed = time.Now().Add(d), missed
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.fire)
	} else {
		w.timer.Reset(d)
	}
}

// pause stops the clock.
func (w *watch) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = time.Time{}
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	// It may have been reset while it fired.
	if w.over || w.deadline.IsZero() || time.Now().Before(w.deadline) {
		return
	}
	w.late, w.over = w.missed, true
	w.end(w.late)
}

// stop ends the watch, and gives the error of a request that was late; nil: it wasn't.
func (w *watch) stop() error {
	w.pause()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	return w.late
}

// sentBody is a request's body. Only the time that the network takes counts, not
// what the source of the bytes takes.
type sentBody struct {
	io.ReadCloser
	w     *watch
	limit time.Duration
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.w.pause()
	n, err := b.ReadCloser.Read(p)
	b.w.within(b.limit, ErrStalled)
	return n, err
}

// bodyBuffer is how many bytes are read of a body at once, where that is up to us: each
// read is a chunk on the wire, and some system calls.
const bodyBuffer = 256 << 10

// WriteTo is what http uses for a body whose length it isn't told.
func (b *sentBody) WriteTo(w io.Writer) (sent int64, err error) {
	buf := make([]byte, bodyBuffer)
	for {
		n, err := b.Read(buf)
		if n > 0 {
			k, werr := w.Write(buf[:n])
			sent += int64(k)
			if werr != nil {
				return sent, werr
			}
		}
		if err == io.EOF {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
	}
}
