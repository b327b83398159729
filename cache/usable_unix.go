//go:build unix

package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// Usable says whether dir, which needn't be there yet, can be a cache: that it holds
// nothing else, can be written to, and has locks that keep others out. It gives how
// many bytes are free on its disk, and leaves everything as it is.
func Usable(dir string) (free int64, err error) {
	l, at := layout{dir}, dir
	if err := l.foreign(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	for {
		st, err := os.Stat(at)
		if err == nil && !st.IsDir() {
			return 0, fmt.Errorf("cache directory: %s is no directory", at)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, os.ErrNotExist) {
			return 0, fmt.Errorf("cache directory: %w", err)
		}
		at = filepath.Dir(at)
	}
	// Where it is a cache, nobody looks in there. Where it isn't yet, in what it is
	// going to be made in.
	if st, err := os.Stat(filepath.Join(dir, version)); err == nil && st.IsDir() {
		at = filepath.Join(dir, version)
	}
	f, err := os.CreateTemp(at, ".usable-*")
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		err = path.Err // its name says nothing
	}
	if err != nil {
		return 0, fmt.Errorf("cache directory: nothing can be made in %s: %w", at, err)
	}
	defer f.Close()
	err = lockable(f)
	os.Remove(f.Name())
	if err != nil {
		return 0, fmt.Errorf("cache directory: %w", err)
	}
	free, _, err = diskSpace(at)
	return free, err
}

// lockable says why locks of a directory's files, of which f is one, keep nobody out; nil:
// they do.
func lockable(f *os.File) error {
	again, err := os.Open(f.Name())
	if err != nil {
		return err
	}
	defer again.Close()
	if err := tryLock(f); err != nil {
		return fmt.Errorf("its files can't be locked: %w", err)
	}
	defer unlock(f)
	if err := tryLock(again); !errors.Is(err, syscall.EWOULDBLOCK) {
		return errors.New("locks of its files keep nobody out")
	}
	return nil
}
