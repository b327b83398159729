package upload

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// errPanic is of work that a fault in this program ended.
var errPanic = errors.New("a fault in ocifs")

// catch calls a function, and makes an error of its panic. Goroutines of this package run
// under it: no handler of the kernel's requests catches what happens in them.
func (a *Area) catch(do func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = a.panicked(cause, debug.Stack())
		}
	}()
	return do()
}

// panicked tells of a panic, and gives the error for those who wait for its goroutine.
func (a *Area) panicked(cause any, stack []byte) error {
	a.log.Error("panic", "cause", cause, "stack", string(stack))
	if a.o.Panicked != nil {
		a.o.Panicked(cause, stack)
	}
	return fmt.Errorf("%w: panic: %v", errPanic, cause)
}

// caught is catch of a function that can't fail.
func (a *Area) caught(do func()) {
	_ = a.catch(func() error { do(); return nil })
}
