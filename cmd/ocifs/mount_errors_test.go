package main

import (
	"errors"
	"strings"
	"testing"
)

// A wait status, which go-fuse gives for the exit code of fusermount3, isn't shown: 256 means 1.
func TestFusermountThatRefusesIsExplained(t *testing.T) {
	err := explainMount(errors.New("fusermount exited with code 256\n"), settings{})
	if text := err.Error(); strings.Contains(text, "256") || !strings.Contains(text, "ocifs doctor") {
		t.Errorf("it says %q", text)
	}
}
