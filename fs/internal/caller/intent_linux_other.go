//go:build linux && !amd64

package caller

// Calls that newer architectures don't have: no number is theirs.
const (
	openCall    = -1
	linkCall    = -2
	symlinkCall = -3
)
