package main

import (
	"bytes"
	"context"
	"errors"
	"testing"
)

// A signal ends the command, which leaves the mounts that it hasn't unmounted yet.
func TestASignalEndsUnmount(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, dirs := range [][]string{{t.TempDir()}, {t.TempDir(), t.TempDir()}} {
		var told bytes.Buffer
		if err := unmountAll(ctx, &told, dirs, false); !errors.As(err, new(interruptedError)) || told.Len() > 0 {
			t.Errorf("after a signal, of %d: %v, %q", len(dirs), err, &told)
		}
	}
}
