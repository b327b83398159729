package hosts

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
)

// maxFile bounds the size of a file, in bytes. A bundle of certificate authorities has some
// 200 KiB, and no hosts.toml has more than this.
const maxFile = 4 << 20

// loader makes one Record. It remembers the state of each path that it looked at, also of
// those that weren't there, so that a change is noticed.
type loader struct {
	finder   *Finder
	states   []fileState
	files    []string // those that count for the Record
	warnings []*Error
}

// state gives the state of a path, with the names in it where list says so, and remembers
// it.
func (l *loader) state(path string, list bool) fileState {
	s := stateOf(path, list)
	l.states = append(l.states, s)
	return s
}

// changed says whether any path has another state by now.
func (l *loader) changed() bool {
	return slices.ContainsFunc(l.states, func(s fileState) bool { return !s.same() })
}

// file reads a whole file that counts for the Record.
func (l *loader) file(path string) ([]byte, error) {
	b, err := l.shared(path)
	if err == nil {
		l.counts(path)
	}
	return b, err
}

// shared reads a whole file that may be about other registries alone. An error is an
// *Error, with the cause that the system gave.
func (l *loader) shared(path string) ([]byte, error) {
	s := l.state(path, false)
	b, err := contents(s)
	if err != nil {
		if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
			err = cause.Err // Error names the path already
		}
		return nil, &Error{File: path, Err: err}
	}
	return b, nil
}

// counts adds a file to those that count for the Record.
func (l *loader) counts(path string) {
	if !slices.Contains(l.files, path) {
		l.files = append(l.files, path)
	}
}

func contents(s fileState) ([]byte, error) {
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

// warn adds warnings.
func (l *loader) warn(es ...*Error) {
	for _, e := range es {
		l.warnings = append(l.warnings, e)
		l.finder.warn(e)
	}
}

// warnf adds a warning about a file, or about one of its lines.
func (l *loader) warnf(file string, line int, format string, args ...any) {
	l.warn(&Error{File: file, Line: line, Err: fmt.Errorf(format, args...)})
}

// warnClosed warns of a file or directory that this user may not read.
func (l *loader) warnClosed(path string) {
	l.warnf(path, 0, "no permission to read what is configured about registries: going on without it")
}
