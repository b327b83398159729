//go:build linux && !amd64

package caller

// System calls that newer architectures don't have. No call has these numbers.
const (
	openCall    = -1
	linkCall    = -2
	symlinkCall = -3
)
