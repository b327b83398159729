package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/fs"
)

// fusermountFor is how long fusermount3 has to unmount. It takes some milliseconds, unless it waits for
// a mount that hangs, or for a disk.
const fusermountFor = 10 * time.Second

// mounted is a mount of ocifs, as the kernel lists it.
type mounted struct {
	mountpoint string // absolute, without symlinks
	source     string // as it was given to the kernel
	root       string // the directory of the file system that is shown; "/": all of it
	device     string // tells file systems apart
	owner      int    // the user who mounted; -1: it isn't told
	// foreign says that it is a FUSE mount of another type. It may be of ocifs all the same: who
	// mounts a device for ocifs (/dev/fd/N) chooses the type. The mount itself tells.
	foreign bool
}

// ocifsMounts lists the mounts that show all of an ocifs.
func ocifsMounts() []mounted {
	return slices.DeleteFunc(ocifsParts(), func(m mounted) bool { return m.root != "/" })
}

// mountedAlready is the error of a mountpoint where an ocifs is mounted, and answers.
type mountedAlready struct{ mounted }

func (e mountedAlready) Error() string {
	return fmt.Sprintf("%s is mounted by ocifs already, from %s; to mount anew: ocifs unmount %s", e.mountpoint, e.source, shellWord(e.mountpoint))
}

// isOurs says whether the topmost mount on path is ocifs'.
func isOurs(path string) bool {
	_, ok := mountAt(path)
	return ok
}

// prepareMountpoint makes sure that dir can be mounted on, and gives its absolute path. The mount
// that a killed ocifs left there is taken away. Anything else that is in the way is an error.
func prepareMountpoint(ctx context.Context, dir, cacheDir string) (string, error) {
	path, dead, err := checkMountpoint(ctx, dir, cacheDir)
	if err != nil || !dead {
		return path, err
	}
	if err := detach(path); err != nil {
		return "", fmt.Errorf("%s was left over by an ocifs that died, and can't be unmounted: %w", path, err)
	}
	if path, dead, err = checkMountpoint(ctx, dir, cacheDir); err == nil && dead {
		err = fmt.Errorf("%s was left over by an ocifs that died, more than once; unmount it again: ocifs unmount --lazy %s", path, shellWord(path))
	}
	return path, err
}

// onDevice says that a mountpoint is a FUSE device of this process, which somebody else has
// mounted.
func onDevice(mountpoint string) bool { return strings.HasPrefix(mountpoint, fs.DevicePrefix) }

// checkMountpoint looks whether dir can be mounted on, and gives its absolute path. dead says that
// the mount of a killed ocifs has to be taken away first. It changes nothing.
func checkMountpoint(ctx context.Context, dir, cacheDir string) (abs string, dead bool, err error) {
	if onDevice(dir) {
		return dir, false, checkDevice(dir)
	}
	if abs, err = mountpointPath(dir); err != nil {
		return "", false, err
	}
	if there, ok := mountAt(abs); ok {
		err := alive(ctx, abs)
		switch {
		case err == nil:
			return "", false, mountedAlready{there}
		case isDead(err):
			return abs, true, nil
		case errors.Is(err, errSilent):
			return "", false, fmt.Errorf("an ocifs is mounted on %s that doesn't answer; take it away first: ocifs unmount --lazy %s", abs, shellWord(abs))
		}
		return "", false, fmt.Errorf("an ocifs is mounted on %s that can't be asked: %w; see: ocifs status", abs, err)
	}
	if around, ok := mountAround(abs); ok {
		if err := alive(ctx, around.mountpoint); err != nil {
			return "", false, fmt.Errorf("mountpoint %s is inside the ocifs mount on %s: %w; see: ocifs status", abs, around.mountpoint, err)
		}
	}
	return abs, false, checkDirectory(abs, cacheDir)
}

// checkDevice makes sure that path, /dev/fd/N, is a FUSE device.
func checkDevice(path string) error {
	fd, err := strconv.Atoi(strings.TrimPrefix(path, fs.DevicePrefix))
	if err != nil || fd < 1 {
		return usageError{fmt.Errorf("mountpoint %s: write %sN, where N is the number of a descriptor, and not 0, which is standard input", path, fs.DevicePrefix)}
	}
	if !isFUSEDevice(fd) {
		return fmt.Errorf("mountpoint %s: descriptor %d isn't a FUSE device: the program that starts ocifs opens /dev/fuse, mounts it with fd=N, and hands it over as N", path, fd)
	}
	return nil
}

// checkDirectory looks whether abs, where no ocifs is mounted, is a directory to mount on.
func checkDirectory(abs, cacheDir string) error {
	st, err := os.Stat(abs)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("mountpoint %s doesn't exist; make it with: mkdir -p %s", abs, shellWord(abs))
	case isDead(err):
		return fmt.Errorf("%s is the mountpoint of a dead file system that isn't ocifs; unmount it first", abs)
	case err != nil:
		return fmt.Errorf("mountpoint %s: %w", abs, err)
	case !st.IsDir():
		return fmt.Errorf("mountpoint %s is not a directory", abs)
	}
	if os.Geteuid() != 0 && unix.Access(abs, unix.W_OK) != nil { // fusermount3 refuses it
		return fmt.Errorf("mountpoint %s: only who may write to a directory may mount there: %w", abs, syscall.EACCES)
	}
	entries, err := os.ReadDir(abs)
	if err != nil {
		return fmt.Errorf("mountpoint %s: %w", abs, err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("mountpoint %s is not empty (it has %s); take an empty directory", abs, entries[0].Name())
	}
	cache := realPath(cacheDir)
	if within(cache, abs) {
		return fmt.Errorf("the cache %s is inside the mountpoint %s; choose another --cache-dir", cacheDir, abs)
	}
	if within(abs, cache) {
		return fmt.Errorf("the mountpoint %s is inside the cache %s; choose another mountpoint", abs, cacheDir)
	}
	return nil
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

// errNoMountpoint is the error of an empty MOUNTPOINT, as a script with an unset variable gives it. It
// doesn't mean the working directory.
var errNoMountpoint = usageError{errors.New("MOUNTPOINT is empty: name a directory, or '.' for this one")}

// mountpointPath gives dir as the kernel lists its mounts: absolute, and without symlinks. Nothing in a
// mount of ocifs is looked at, as the mount may be dead or hang. The names below one stay as they are.
func mountpointPath(dir string) (string, error) {
	if dir == "" {
		return "", errNoMountpoint
	}
	at, below, err := followOutside(ocifsParts(), dir)
	if at == "" {
		return "", err
	}
	return filepath.Join(at, below), nil // who uses the path finds out that it leads nowhere
}

// mountAround gives a mount of ocifs that a path without symlinks is inside of.
func mountAround(path string) (m mounted, ok bool) {
	for _, m := range ocifsParts() {
		if path != m.mountpoint && within(path, m.mountpoint) {
			return m, true
		}
	}
	return mounted{}, false
}

// errSilent is the error of a mount that neither answers nor fails.
var errSilent = errors.New("no answer")

// isDead says whether an error is that of a FUSE mount whose daemon has ended: Linux has ENOTCONN, and
// ECONNABORTED after an abort; macFUSE has ENXIO ("Device not configured").
func isDead(err error) bool {
	return errors.Is(err, syscall.ENOTCONN) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.ENXIO)
}

// answerWithin gives the result of ask, which asks a file system that may hang. Without an answer
// within limit the error is errSilent, and at the end of ctx it is that of ctx. ask then goes on
// alone, and ends with this process.
func answerWithin[T any](ctx context.Context, limit time.Duration, ask func() (T, error)) (got T, err error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	got, err = answerBefore(bounded, ask)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = errSilent
	}
	return got, err
}

// answerBefore gives the result of ask, which may hang, or the error of ctx when that ends before.
// ask then goes on alone, and ends with this process.
func answerBefore[T any](ctx context.Context, ask func() (T, error)) (got T, err error) {
	type result struct {
		got T
		err error
	}
	answer := make(chan result, 1)
	go func() {
		got, err := ask()
		answer <- result{got, err}
	}()
	select {
	case r := <-answer:
		return r.got, r.err
	case <-ctx.Done():
		return got, ctx.Err()
	}
}
