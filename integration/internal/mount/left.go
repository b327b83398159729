package mount

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
)

// Partials are the unfinished downloads in a cache.
func Partials(cache string) (files []string, err error) {
	err = filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // finished meanwhile
		}
		if err == nil && d.Type().IsRegular() && strings.Contains(path, "/partial/") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for unfinished downloads: %w", err)
	}
	return files, nil
}

// Unfinished waits until no download is under way or left over and the daemon holds
// no file of the cache open, and gives what there still is after some seconds. It
// may take the kernel a moment to say that readers are gone. Partial files that keep
// is true for are let be.
func (m *Mount) Unfinished(keep func(path string) bool) (left []string, err error) {
	for range 50 {
		left = nil
		partials, err := Partials(m.Cache)
		if err != nil {
			return nil, err
		}
		for _, f := range partials {
			if keep == nil || !keep(f) {
				left = append(left, f)
			}
		}
		open, err := OpenFiles(m.PID(), m.Cache)
		if err != nil {
			return nil, err
		}
		for _, f := range open {
			if strings.Contains(f, "/blobs/") || strings.Contains(f, "/partial/") {
				left = append(left, f)
			}
		}
		if len(left) == 0 {
			return nil, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return left, nil
}
