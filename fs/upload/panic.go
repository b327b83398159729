package upload

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// errPanic is the error of work that a panic ended.
var errPanic = errors.New("a fault in ocifs")

// catch calls a function, and returns its panic as an error. Goroutines of this package run
// their work under catch, because the handler of the kernel's requests can't recover their
// panics.
func (a *Area) catch(do func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = a.panicked(cause, debug.Stack())
		}
	}()
	return do()
}

// panicked reports a panic. It gives the error for those who wait for the goroutine.
func (a *Area) panicked(cause any, stack []byte) error {
	a.log.Error("panic", "cause", cause, "stack", string(stack))
	if a.o.Panicked != nil {
		a.o.Panicked(cause, stack)
	}
	return fmt.Errorf("%w: panic: %v", errPanic, cause)
}

// caught calls a function that returns no error, and recovers its panic as catch does.
func (a *Area) caught(do func()) {
	_ = a.catch(func() error { do(); return nil })
}
