package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ocifs/ocifs/fs/upload"
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

// A blob of which a write failed isn't said to be kept. Everything else that is left is.
func TestOnlyWhatIsKeptIsSaidToBe(t *testing.T) {
	failed := upload.Record{Repository: "ghcr.io/a", Target: "v1", State: upload.Failed, Error: "denied"}
	broken := upload.Record{Repository: "ghcr.io/a", Target: "x", State: upload.Failed, Error: "a write failed", Broken: true}
	for _, c := range []struct {
		left []upload.Record
		kept bool
	}{{[]upload.Record{broken}, false}, {[]upload.Record{broken, failed}, true}, {nil, false}} {
		var told bytes.Buffer
		tellUnpushed(&told, c.left)
		if strings.Contains(told.String(), "it is kept") != c.kept || strings.Count(told.String(), "not pushed") != len(c.left) {
			t.Errorf("of %+v it tells %q", c.left, &told)
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
