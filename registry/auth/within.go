package auth

import (
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is how many symlinks the system follows in one path.
const maxLinks = 40

// leadsInto says whether a path leads into one of some directories, by its name or
// by a symlink on its way. It never touches them or anything below: they are file
// systems that this process serves, and it would wait for itself.
func leadsInto(path string, dirs []string) bool {
	if len(dirs) == 0 {
		return false
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return true // can't be known
	}
	_, inside := walk(path, dirs)
	return inside
}

// resolve gives a path without symlinks, as far as it exists.
func resolve(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	real, _ := walk(abs, nil)
	return real
}

// walk follows an absolute path as the system would, and stops where it enters one
// of dirs.
func walk(path string, dirs []string) (at string, inside bool) {
	rest := strings.Split(path, "/")
	links := 0
	for at = "/"; len(rest) > 0; {
		next := rest[0]
		rest = rest[1:]
		switch next {
		case "", ".":
			continue
		case "..":
			at = filepath.Dir(at)
			continue
		}
		at = filepath.Join(at, next)
		for _, d := range dirs {
			if at == d {
				return at, true
			}
		}
		to, err := os.Readlink(at)
		if err != nil { // no link, or nothing there
			continue
		}
		if links++; links > maxLinks {
			return at, false // leads nowhere
		}
		if at = filepath.Dir(at); filepath.IsAbs(to) {
			at = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return at, false
}
