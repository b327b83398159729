package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fusermount3 is given up when it doesn't end in time, and what it says is the error. Only the missing list of mounts
// has a hint.
func TestFusermountIsBounded(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	_, lacks := os.Stat(mtab)
	for script, want := range map[string]string{
		"exec sleep 600":                   "fusermount3 -u: no answer within 100ms",
		"exit 0":                           "",
		"echo fuse: busy >&2; exit 1":      unix.EBUSY.Error(),
		"echo not allowed >&2; exit 1":     "not allowed",
		"exit 3":                           "fusermount3 -u: exit status 3",
		`echo "failed: /etc/mtab"; exit 1`: map[bool]string{true: "failed: /etc/mtab; it reads the list of mounts there: as root, ln -s /proc/self/mounts /etc/mtab", false: "failed: /etc/mtab"}[lacks != nil],
	} {
		if err := os.WriteFile(filepath.Join(dir, "fusermount3"), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		limit := 30 * time.Second
		if strings.Contains(script, "sleep") {
			limit = 100 * time.Millisecond
		}
		err := fusermount(limit, "/mnt")
		switch {
		case want == "" && err != nil, want != "" && (err == nil || err.Error() != want):
			t.Errorf("%s: %v, want %s", script, err, want)
		case strings.Contains(script, "sleep") && !errors.Is(err, errSilent):
			t.Errorf("%s: %v", script, err)
		}
	}
}
