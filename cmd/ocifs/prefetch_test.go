package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
