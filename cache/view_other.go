//go:build !linux

package cache

import (
	"errors"
	"os"
)

// resident fails: this system has no windows. Its mounts know no passthrough either.
func resident(*os.File, int64, int64) (bool, error) { return false, errors.ErrUnsupported }

// enter fails: there is no mapping.
func enter([]byte) error { return errors.ErrUnsupported }
