package auth

import (
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is how many symlinks Linux follows in one path (path_resolution(7)).
const maxLinks = 40

// leadsInto says whether a path leads into one of the excluded directories, by its name or
// by a symlink on its way. It never touches them or anything below: they are file
// systems that this process serves, and it would wait for itself.
func leadsInto(path string, excluded []string) bool {
	if len(excluded) == 0 {
		return false
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return true // can't be known
	}
	_, inside := walk(path, excluded)
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
// of the excluded directories.
func walk(path string, excluded []string) (at string, inside bool) {
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
		for _, d := range excluded {
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
