package main

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ocifs/ocifs/fs/prefetch"
)

// A path is found in its mount, through symlinks outside of it and through a part of the mount that is
// shown elsewhere. Nothing in the mount is looked at: it isn't there.
func TestAPathIsFoundInItsMount(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Mkdir(dir+"/sub", 0o755), os.Symlink("../mnt/h/r", dir+"/sub/link"), os.Symlink(dir+"/sub/link", dir+"/far"), os.Symlink("loop", dir+"/loop"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	mounts := []mounted{
		{mountpoint: dir + "/mnt", root: "/", device: "0:1"}, {mountpoint: dir + "/part", root: "/h/r", device: "0:1"},
		{mountpoint: dir + "/alone", root: "/h/r", device: "0:2"},
	}
	for path, want := range map[string]string{
		"mnt": "", "mnt/": "", dir + "/mnt/h/../x": "h/../x", "./sub/../mnt//h": "/h", "sub/link/tags/v1": "h/r/tags/v1", "far/tags": "h/r/tags",
		"part/tags/v1": "h/r/tags/v1",
	} {
		m, below, err := placeInMount(mounts, path)
		if err != nil || m.mountpoint != dir+"/mnt" || below != want {
			t.Errorf("%s is %q in %s, %v; want %q", path, below, m.mountpoint, err, want)
		}
	}
	for path, want := range map[string]string{
		"": "empty", "sub": "isn't in an ocifs mount", "none/x": "no such file", "loop": "too many levels", "alone/tags": "a part of an ocifs mount",
	} {
		if _, _, err := placeInMount(mounts, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", path, err, want)
		}
	}
}

// A mount that gives no answer is given up when the command ends, and an answer that comes later harms
// nothing. The mount is a FIFO, whose open waits for a writer.
func TestAMountThatGivesNoAnswerIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/.ocifs", 0o755); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, ".ocifs", prefetch.Name)
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &asked{mount: mounted{mountpoint: dir}, below: []string{"h/r"}}
	if err := a.begin(ctx, prefetch.Ask{}); !errors.Is(err, context.Canceled) {
		t.Errorf("it began: %v", err)
	}
	writer, err := os.OpenFile(fifo, os.O_RDWR, 0) // the open that waits goes on
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	end := make(chan int)
	defer close(end)
	if _, err := inTime(t.Context(), a.mount, time.Millisecond, func() (int, error) { return <-end, nil }); err == nil || !strings.Contains(err.Error(), "doesn't answer") {
		t.Errorf("a question without an answer: %v", err)
	}
	a.close()
}

// Mounts whose manifests promise more bytes than there can be make no negative sum.
func TestHugePromisesOfMountsAreSummedUp(t *testing.T) {
	t.Setenv("TERM", "dumb")
	huge := &asked{state: prefetch.State{DoneBytes: math.MaxInt64, TotalBytes: math.MaxInt64}}
	var out strings.Builder
	p := newProgress(&out, "prefetch")
	p.told = time.Time{}
	show(p, []*asked{huge, huge})
	if out.String() != "prefetch 8.0 EiB of 8.0 EiB\n" {
		t.Errorf("it says %q", &out)
	}
}

// A directory in a mount is named without a look into the mount, which may hang: below the mountpoint,
// names stay as they are, through symlinks outside of it too.
func TestNothingInAMountIsLookedAt(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// The symlink mnt/sub stands for a name in a mount that hangs: a look at it would follow it.
	for _, err := range []error{os.Mkdir(dir+"/mnt", 0o755), os.Symlink("/", dir+"/mnt/sub"), os.Symlink("mnt", dir+"/link")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	mounts := []mounted{{mountpoint: dir + "/mnt", root: "/"}}
	for path, want := range map[string][2]string{
		"/mnt/sub/x": {"/mnt", "sub/x"}, "/link/sub": {"/mnt", "sub"}, "/link": {"/mnt", ""}, "/nowhere/x": {"", "nowhere/x"}, "/.": {"", ""},
	} {
		at, below, err := followOutside(mounts, dir+path)
		if at != dir+want[0] || below != want[1] || (err != nil) != strings.HasPrefix(path, "/nowhere") {
			t.Errorf("%s leads to %s, %q, %v", path, at, below, err)
		}
	}
}
