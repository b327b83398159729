package hosts

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// sight is what was seen of a path, before it was read: what changes later, or while it is
// read, looks different.
type sight struct {
	path   string
	info   fs.FileInfo // nil where it isn't there or can't be seen
	listed bool
	names  []string // of what is in it, where it was listed
	err    error
}

// look looks at a path, and into it where list says so. Symbolic links are followed, so
// one that is turned elsewhere is a change.
func look(path string, list bool) sight {
	s := sight{path: path, listed: list}
	if s.info, s.err = os.Stat(path); s.err != nil || !list {
		return s
	}
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		s.names = append(s.names, e.Name())
	}
	s.err = err
	return s
}

// same says whether the path still looks so. Of a directory that counts which names are in
// it, where it was listed; its own time changes with files that nobody reads.
func (s sight) same() bool {
	now := look(s.path, s.listed)
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

// absent says whether err means that there is no such file: also where a directory of
// its path is none, or where the name of a host is too long to be one of a file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// forbidden says whether err means that the file is another user's.
func forbidden(err error) bool { return errors.Is(err, fs.ErrPermission) }
