package prefetch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Session is .ocifs/prefetch of a mount, opened. It is safe for concurrent use.
type Session struct{ file *os.File }

// Open opens a session with the mount on a directory.
func Open(mountpoint string) (*Session, error) {
	f, err := os.Open(filepath.Join(mountpoint, ".ocifs", Name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the mount on %s can't prefetch: it is of another version of ocifs, or no ocifs: %w", mountpoint, err)
	}
	if err != nil {
		return nil, err
	}
	return &Session{f}, nil
}

// Close ends the session, and all asks that aren't in the background.
func (s *Session) Close() error { return s.file.Close() }

// ErrFull is the error of a session that takes no more asks until some have ended.
var ErrFull = errors.New("the mount takes no more until it has worked on some")

// Ask has the mount bring what a path needs. It waits for no download. ErrFull: too many asks of the
// session wait already.
func (s *Session) Ask(a Ask) error {
	b, err := a.encode()
	if err != nil {
		return fmt.Errorf("prefetch %q: %w", a.Path, err)
	}
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		for {
			_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, fd, askCommand, uintptr(unsafe.Pointer(&b[0])))
			if errno != unix.EINTR { // Go's own signals interrupt it too
				return
			}
		}
	})
	switch {
	case err != nil:
		return err
	case errno == unix.ENOBUFS:
		return fmt.Errorf("ask the mount for %q: %w", a.Path, ErrFull)
	case errno != 0:
		return fmt.Errorf("ask the mount for %q: %w", a.Path, errno)
	}
	return nil
}

// State gives what has come of the asks so far.
func (s *Session) State() (State, error) {
	var st State
	b, err := io.ReadAll(io.NewSectionReader(s.file, 0, 1<<30))
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	if err != nil {
		return State{}, fmt.Errorf("read what the mount brings: %w", err)
	}
	return st, nil
}
