package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// aliveTimeout is how long a mount has to answer a question that costs it
// nothing.
const aliveTimeout = 5 * time.Second

// mounted is a mount of ocifs, as the kernel lists it.
type mounted struct {
	mountpoint string // absolute, without symlinks
	source     string // as it was given to the kernel
}

// prepareMountpoint makes sure that dir can be mounted on, and gives its
// absolute path. What a killed ocifs left there is taken away; anything else
// that is in the way is told.
func prepareMountpoint(dir, cacheDir string) (string, error) {
	abs, err := mountpointPath(dir)
	if err != nil {
		return "", err
	}
	if isOurs(abs) {
		switch err := alive(abs); {
		case err == nil:
			return "", fmt.Errorf("%s is mounted by ocifs already; to mount anew: ocifs unmount %s", abs, abs)
		case errors.Is(err, errSilent):
			return "", fmt.Errorf("an ocifs is mounted on %s that doesn't answer; take it away first: ocifs unmount --lazy %s", abs, abs)
		}
		if err := detach(abs); err != nil {
			return "", fmt.Errorf("%s was left over by an ocifs that died, and can't be unmounted: %w", abs, err)
		}
	}
	st, err := os.Stat(abs)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("mountpoint %s doesn't exist; make it with: mkdir -p %s", abs, abs)
	case errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED):
		return "", fmt.Errorf("%s is the mountpoint of a dead file system that isn't ocifs; unmount it first", abs)
	case err != nil:
		return "", fmt.Errorf("mountpoint %s: %w", abs, err)
	case !st.IsDir():
		return "", fmt.Errorf("mountpoint %s is not a directory", abs)
	}
	entries, err := os.ReadDir(abs)
	if err != nil {
		return "", fmt.Errorf("mountpoint %s: %w", abs, err)
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("mountpoint %s is not empty (it has %s); take an empty directory", abs, entries[0].Name())
	}
	cache := realPath(cacheDir)
	if within(cache, abs) {
		return "", fmt.Errorf("the cache %s is inside the mountpoint %s; choose another --cache-dir", cacheDir, abs)
	}
	if within(abs, cache) {
		return "", fmt.Errorf("the mountpoint %s is inside the cache %s; choose another mountpoint", abs, cacheDir)
	}
	return abs, nil
}

// realPath is path without symlinks, as far as it exists.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	if dir := filepath.Dir(path); dir != path {
		return filepath.Join(realPath(dir), filepath.Base(path))
	}
	return path
}

// within says whether path is dir or below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// mountpointPath gives dir as the kernel lists its mounts: absolute, and without
// symlinks. An ocifs that is mounted there isn't looked at, as it may be dead or
// hang.
func mountpointPath(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if parent, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(parent, filepath.Base(path))
	}
	if isOurs(path) {
		return path, nil
	}
	if to, err := filepath.EvalSymlinks(path); err == nil {
		path = to
	}
	return path, nil
}

// errSilent is of a mount that neither answers nor fails.
var errSilent = errors.New("no answer")

// alive asks what is mounted on path for an answer, and waits some seconds at
// most. It is statfs that asks: attributes come from the kernel's cache, which
// outlives the daemon that filled it.
func alive(path string) error {
	answer := make(chan error, 1)
	go func() {
		var st unix.Statfs_t
		answer <- unix.Statfs(path, &st)
	}()
	select {
	case err := <-answer:
		return err
	case <-time.After(aliveTimeout):
		return errSilent
	}
}
