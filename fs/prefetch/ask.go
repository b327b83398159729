package prefetch

import (
	"bytes"
	"errors"
)

// Name is the name of the file in .ocifs/.
const Name = "prefetch"

// AllPlatforms is the Ask.Platform for all children of an index.
const AllPlatforms = "all"

// Ask names a path whose content is to be brought.
type Ask struct {
	// Path is below the mountpoint. Symlinks in it are followed. "" is the mountpoint.
	Path string
	// Platform picks the child of an index: OS/ARCH[/VARIANT], or AllPlatforms. "": that of the
	// mount.
	Platform string
	// Check only finds out what is missing. No blob is downloaded. Manifests are.
	Check bool
	// Background goes on when the session is closed.
	Background bool
}

// An ask is encoded in a struct of one size, because the size is a part of the command of an ioctl:
//
//	0     flags
//	1     platform, padded with zeros
//	64    path, padded with zeros
const (
	askSize      = 1 + maxPlatform + maxPath
	maxPlatform  = 63
	maxPath      = 4096 // Linux' PATH_MAX
	checkFlag    = 1
	backgroundFl = 2
)

// ErrTooLong is the error of an ask with a path or a platform that is too long.
var ErrTooLong = errors.New("the path has more than 4096 bytes, or the platform more than 63")

// ErrMalformed is the error of bytes that are no ask.
var ErrMalformed = errors.New("this is no question that the mount knows")

// encode gives the bytes of an ask.
func (a Ask) encode() ([]byte, error) {
	if len(a.Path) > maxPath || len(a.Platform) > maxPlatform {
		return nil, ErrTooLong
	}
	b := make([]byte, askSize)
	if a.Check {
		b[0] |= checkFlag
	}
	if a.Background {
		b[0] |= backgroundFl
	}
	copy(b[1:1+maxPlatform], a.Platform)
	copy(b[1+maxPlatform:], a.Path)
	return b, nil
}

// Decode gives the ask that an ioctl with this command and these bytes carries. It fails with
// ErrMalformed for any other ioctl.
func Decode(command uint32, b []byte) (Ask, error) {
	if command != askCommand || len(b) != askSize || b[0]&^(checkFlag|backgroundFl) != 0 {
		return Ask{}, ErrMalformed
	}
	text := func(b []byte) string {
		b, _, _ = bytes.Cut(b, []byte{0})
		return string(b)
	}
	return Ask{
		Path: text(b[1+maxPlatform:]), Platform: text(b[1 : 1+maxPlatform]),
		Check: b[0]&checkFlag != 0, Background: b[0]&backgroundFl != 0,
	}, nil
}
