package main

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
)

// A command whose text can't be written fails, whoever prints it.
func TestTextThatIsLostIsAnError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, args := range [][]string{{"help"}, {"mount", "--help"}, {"help", "tree"}, {"version"}, {"cache", "stats", "--cache-dir", t.TempDir()}} {
		root := rootCommand()
		root.SetArgs(args)
		if err := run(context.Background(), root, &checkedOutput{File: full}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("ocifs %v ends with %v", args, err)
		}
	}
}
