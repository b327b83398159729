//go:build !linux

package upload

import (
	"errors"
	"os"
)

// openDirect fails: only Linux has O_DIRECT.
func openDirect(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }

// writingBack isn't known.
func writingBack() int64 { return 0 }

// fitsDirect says that nothing is written directly.
func fitsDirect([]byte, int64) bool { return false }
