package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
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

// An empty MOUNTPOINT, as of a script's unset variable, isn't the working directory.
func TestAnEmptyMountpointIsAMistake(t *testing.T) {
	for _, args := range [][]string{{"mount", ""}, {"mount", "ghcr.io", ""}, {"unmount", ""}, {"unmount", "--lazy", ""}, {"status", ""}} {
		if _, err := output(args...); err == nil || !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), "MOUNTPOINT is empty") {
			t.Errorf("ocifs %q: %v", args, err)
		}
	}
	if _, err := output("unmount", "--all", "/mnt"); err == nil || err.Error() != "--all and /mnt: which of the two is meant?" {
		t.Errorf("both are named: %v", err)
	}
}
