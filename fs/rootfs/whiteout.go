package rootfs

import (
	"slices"
	"strings"
)

// The names of whiteouts, as in
// https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts. A whiteout counts
// by its name, whatever the type of its entry.
const (
	// whiteoutPrefix begins the name of a whiteout; the name that it hides follows. The prefix
	// alone hides nothing.
	whiteoutPrefix = ".wh."
	// opaqueName in a directory hides all that the layers below have in that directory.
	opaqueName = ".wh..wh..opq"
)

// isWhiteout reports whether a merge hides the name itself: it is a whiteout, or one of the names
// that AUFS kept for itself (".wh..wh.plnk").
func isWhiteout(name string) bool { return strings.HasPrefix(name, whiteoutPrefix) }

// whiteouts finds the whiteouts in a sorted list: they are names[from:to].
func whiteouts(names []Name) (from, to int) {
	from = searchNames(names, whiteoutPrefix)
	// '/' is the byte behind '.' and in no name: ".wh/" is behind every name that begins
	// with ".wh.".
	to = from + searchNames(names[from:], ".wh/")
	return from, to
}

// searchNames finds the first name that isn't before s.
func searchNames(names []Name, s string) int {
	i, _ := slices.BinarySearchFunc(names, s, func(n Name, s string) int { return strings.Compare(n.Name, s) })
	return i
}
