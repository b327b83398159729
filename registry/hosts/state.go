package hosts

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// fileState is the state of a path before it was read. A file that changes later, or while
// it is read, has another one.
type fileState struct {
	path   string
	info   fs.FileInfo // nil if there is no such file, or this user can't see it
	listed bool        // names was asked for
	names  []string    // the names in a directory, if listed
	err    error       // of the stat or of the listing
}

// stateOf gives the state of a path, with the names in it where list says so. Symbolic links
// are followed, so a link that gets another target is a change.
func stateOf(path string, list bool) fileState {
	s := fileState{path: path, listed: list}
	s.info, s.err = os.Stat(path)
	if s.err != nil || !list {
		return s
	}
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		s.names = append(s.names, e.Name())
	}
	s.err = err
	return s
}

// same says whether the path still has this state. Of a directory the listed names count: its
// own time changes with files that nobody reads.
func (s fileState) same() bool {
	now := stateOf(s.path, s.listed)
	if (s.err == nil) != (now.err == nil) || (s.info == nil) != (now.info == nil) {
		return false
	}
	if s.info == nil {
		return true
	}
	if s.info.IsDir() {
		return s.info.Mode() == now.info.Mode() && slices.Equal(s.names, now.names)
	}
	return os.SameFile(s.info, now.info) && s.info.Mode() == now.info.Mode() &&
		s.info.Size() == now.info.Size() && s.info.ModTime().Equal(now.info.ModTime())
}

// absent says whether err means that there is no such file. A directory of its path may be
// none, and the name of a host may be too long for the name of a file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// forbidden says whether err means that this user may not read the file.
func forbidden(err error) bool { return errors.Is(err, fs.ErrPermission) }
