package cache

import (
	"fmt"
	"runtime/debug"
)

// OnPanic has f told of each panic in a download, with its stack. A panic fails those who
// wait for the download, and nobody else. It is to be called before the first download.
func (s *Store) OnPanic(f func(cause any, stack []byte)) { s.panicked = f }

// catch calls a function of a download, and makes an error of its panic: downloads run in
// goroutines of their own, where nothing else would.
func (s *Store) catch(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			if s.panicked != nil {
				s.panicked(p, debug.Stack())
			}
		}
	}()
	return do()
}
