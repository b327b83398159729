package hosts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// maxFile bounds what is read of a file: a bundle of authorities has some 200 KiB, and
// a hosts.toml of more than this is none.
const maxFile = 4 << 20

// reading is one making of a Record. It remembers all that it looked at, also what
// wasn't there, so that a change of it can be seen.
type reading struct {
	finder *Finder
	seen   []sight
	files  []string
}

// look looks at a path and remembers what it saw.
func (r *reading) look(path string, list bool) sight {
	s := look(path, list)
	r.seen = append(r.seen, s)
	return s
}

// changed says whether anything looks different by now.
func (r *reading) changed() bool {
	return slices.ContainsFunc(r.seen, func(s sight) bool { return !s.same() })
}

// file reads a whole file. An error is an *Error, with the cause that the system gave.
func (r *reading) file(path string) ([]byte, error) {
	s := r.look(path, false)
	b, err := contents(s)
	if err != nil {
		if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
			err = cause.Err // the path is said already
		}
		return nil, &Error{File: path, Err: err}
	}
	if !slices.Contains(r.files, path) {
		r.files = append(r.files, path)
	}
	return b, nil
}

func contents(s sight) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	if !s.info.Mode().IsRegular() {
		return nil, errors.New("this is no file") // and a pipe would never end
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return b, err
}

// warn logs what a person should know about a file, once.
func (r *reading) warn(message, file string, args ...any) {
	r.finder.warn(message, file, args...)
}

// closed warns of a directory that can't be looked into.
func (r *reading) closed(dir string) {
	r.warn("no permission to read a directory about registries: going on without it", dir)
}
