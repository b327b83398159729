package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// maxLinks is how many symlinks a path may lead through, as in Linux (MAXSYMLINKS).
const maxLinks = 40

// places finds the mounts of paths.
type places struct {
	ours []mounted // the mounts of ocifs that are known
	// foreign are FUSE mounts of other types that no path has led to yet.
	foreign []mounted
	asking  asking
}

func newPlaces() *places { return &places{ours: ocifsParts(), foreign: foreignMounts()} }

// of gives the mount that a path is in, and the path below its mountpoint. A mount of another type that
// is on the way is asked whether it is ocifs', for some seconds at most. One that isn't is walked
// through as any directory.
func (p *places) of(ctx context.Context, path string) (m mounted, below string, err error) {
	for {
		m, below, err = placeInMount(slices.Concat(p.ours, p.foreign), path)
		if err != nil || !m.foreign {
			return m, below, err
		}
		p.foreign = slices.DeleteFunc(p.foreign, func(f mounted) bool { return f.mountpoint == m.mountpoint })
		if p.asking.one(ctx, m).Alive {
			m.foreign = false
			p.ours = append(p.ours, m)
		}
	}
}

// placeInMount gives the mount that a path is in, and the path below its mountpoint. Nothing in the
// mount is looked at: it may hang, and a lookup may download.
func placeInMount(mounts []mounted, path string) (m mounted, below string, err error) {
	if path == "" {
		return mounted{}, "", errors.New("a path is empty")
	}
	at, below, err := followOutside(mounts, path)
	if err != nil {
		return mounted{}, "", err
	}
	if m, ok := topmost(mounts, at); ok {
		return inMount(mounts, m, below)
	}
	return mounted{}, "", fmt.Errorf("%s isn't in an ocifs mount; 'ocifs status' lists the mounts", path)
}

// followOutside follows a path through symlinks up to the first mount of ocifs. at is the mountpoint, and
// below is the rest of the path. If the path leads to no mount, at is where it leads, without symlinks,
// and below is empty. If it leads nowhere, at is the directory that was reached, and below is the rest.
// Nothing in a mount is looked at.
func followOutside(mounts []mounted, path string) (at, below string, err error) {
	if !filepath.IsAbs(path) {
		// os.Getwd and filepath.Abs look at the directory, which may be in a mount that hangs.
		wd, err := syscall.Getwd()
		if err != nil {
			return "", "", fmt.Errorf("the working directory: %w", err)
		}
		path = wd + "/" + path // filepath.Join would take what .. leads to for granted
	}
	at = "/"
	names := strings.Split(path, "/")
	for links := 0; len(names) > 0; {
		if _, ok := topmost(mounts, at); ok {
			return at, strings.Join(names, "/"), nil
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
		rest := strings.Join(append([]string{name}, names...), "/")
		st, err := os.Lstat(next)
		if err != nil {
			return at, rest, err
		}
		if st.Mode()&os.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return at, rest, fmt.Errorf("%s: %w", path, syscall.ELOOP)
		}
		to, err := os.Readlink(next)
		if err != nil {
			return at, rest, err
		}
		if filepath.IsAbs(to) {
			at = "/"
		}
		names = append(strings.Split(to, "/"), names...)
	}
	return at, "", nil
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
