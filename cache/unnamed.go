package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// unnamed is a file without a name, for a blob that is served while it is open and kept
// nowhere: where the cache directory can't be written. Another directory of the cache is
// tried first, as it is on the disk that was chosen for blobs.
func (s *Store) unnamed() (*partial, error) {
	own := []string{filepath.Join(s.dir, version), s.blobs()}
	return unnamedIn(slices.Concat(own, temporaryDirs(os.Getenv("TMPDIR"), "/var/tmp", "/tmp")))
}

// unnamedElsewhere is a file without a name on another disk than the cache's, where that
// can be had.
func (s *Store) unnamedElsewhere() (*partial, error) {
	return unnamedIn(temporaryDirs(os.Getenv("TMPDIR"), "/var/tmp", "/tmp"))
}

// temporaryDirs are the directories for temporary files: the one that a person chose, if
// any, whatever it is, and of the system's those that aren't in memory. A blob of some
// gigabytes in a RAM disk takes the memory of the machine.
func temporaryDirs(chosen string, system ...string) (dirs []string) {
	if chosen != "" {
		dirs = append(dirs, chosen)
	}
	for _, dir := range system {
		if !inMemory(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// unnamedIn is a file without a name in the first of some directories that can be written.
func unnamedIn(dirs []string) (*partial, error) {
	var causes []string
	for _, dir := range dirs {
		f, err := os.CreateTemp(dir, "ocifs-*")
		if err != nil {
			causes = append(causes, err.Error())
			continue
		}
		if err := os.Remove(f.Name()); err != nil {
			f.Close()
			causes = append(causes, err.Error())
			continue
		}
		return &partial{f: f}, nil
	}
	return nil, fmt.Errorf("%w: neither the cache directory nor one for temporary files, outside of memory, can be written: mend the cache directory, or set TMPDIR to a directory on a disk (%s)",
		ErrNoSpace, strings.Join(causes, "; "))
}
