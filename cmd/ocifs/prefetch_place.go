package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks is how many symlinks a path may lead through, as in Linux (MAXSYMLINKS).
const maxLinks = 40

// placeInMount gives the mount that a path is in, and the path below its mountpoint. Nothing in the
// mount is looked at: it may hang, and a lookup may download.
func placeInMount(mounts []mounted, path string) (m mounted, below string, err error) {
	if path == "" {
		return mounted{}, "", errors.New("a path is empty")
	}
	if !filepath.IsAbs(path) {
		wd, err := os.Getwd()
		if err != nil {
			return mounted{}, "", err
		}
		path = wd + "/" + path // filepath.Join would take what .. leads to for granted
	}
	at, names := "/", strings.Split(path, "/")
	for links := 0; len(names) > 0; {
		if m, ok := topmost(mounts, at); ok {
			return inMount(mounts, m, strings.Join(names, "/"))
		}
		name := names[0]
		names = names[1:]
		if name == "" || name == "." {
			continue
		}
		next := filepath.Join(at, name) // at has no symlink in it
		if _, ok := topmost(mounts, next); ok || name == ".." {
			at = next
			continue
		}
		st, err := os.Lstat(next)
		if err != nil {
			return mounted{}, "", err
		}
		if st.Mode()&os.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return mounted{}, "", fmt.Errorf("%s: %w", path, syscall.ELOOP)
		}
		to, err := os.Readlink(next)
		if err != nil {
			return mounted{}, "", err
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		names = append(strings.Split(to, "/"), names...)
	}
	if m, ok := topmost(mounts, at); ok {
		return inMount(mounts, m, "")
	}
	return mounted{}, "", fmt.Errorf("%s isn't in an ocifs mount; 'ocifs status' lists the mounts", path)
}

// topmost gives the mount on a directory.
func topmost(mounts []mounted, dir string) (mounted, bool) {
	for k := len(mounts) - 1; k >= 0; k-- {
		if mounts[k].mountpoint == dir {
			return mounts[k], true
		}
	}
	return mounted{}, false
}

// inMount gives the whole of a mount that a directory of may be mounted elsewhere (mount --bind), and
// the path in the whole.
func inMount(mounts []mounted, m mounted, below string) (mounted, string, error) {
	if m.root == "/" {
		return m, below, nil
	}
	for _, whole := range mounts {
		if whole.device == m.device && whole.root == "/" {
			return whole, strings.TrimPrefix(m.root, "/") + "/" + below, nil
		}
	}
	return mounted{}, "", fmt.Errorf("%s is a part of an ocifs mount, and the whole isn't to be seen here: ask where that is mounted", m.mountpoint)
}
