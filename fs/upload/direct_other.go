//go:build !linux

package upload

import (
	"errors"
	"os"
)

// openDirect fails: only Linux has O_DIRECT.
func openDirect(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }

// fitsDirect says that nothing is written directly.
func fitsDirect([]byte, int64) bool { return false }
