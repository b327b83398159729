package main

import (
	"io"
	"os"
	"sync"
)

// checkedOutput is standard output that keeps the first error of a write: cobra and fmt.Fprint pass
// over it, and the text is lost then, as on a disk that is full.
type checkedOutput struct {
	*os.File // what is written to; its descriptor tells whether it is a terminal

	mu  sync.Mutex // guards err; no other lock is taken while it is held
	err error      // the first error of a write; nil: everything was written
}

func (o *checkedOutput) Write(b []byte) (int, error) {
	n, err := o.File.Write(b)
	o.keep(err)
	return n, err
}

func (o *checkedOutput) WriteString(s string) (int, error) { return o.Write([]byte(s)) }

// ReadFrom is for io.Copy, which would go past Write to the file's own ReadFrom.
func (o *checkedOutput) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{o}, r)
}

func (o *checkedOutput) keep(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
}

// failed is the first error of a write.
func (o *checkedOutput) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// descriptor is a file, or something that writes to one.
type descriptor interface{ Fd() uintptr }
