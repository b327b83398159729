package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// steps does one step after another, with one file open at a time, and gives what
// came of each: "write ok", "close EACCES". A step that fails is no end.
//
//	create PATH | open PATH     the file that the next steps are about
//	write TEXT | copy FROM | copyrange FROM | truncate SIZE | fallocate SIZE
//	fsync | flock | close
//	rename FROM TO | link FROM TO | mkdir PATH | unlink PATH | fsyncdir PATH
//
// Paths have no spaces.
func steps(all []string) string {
	var s stepper
	var said []string
	for _, step := range all {
		f := strings.Fields(step)
		came := "ok"
		if err := s.do(f[0], f[1:]); err != nil {
			came = name(err)
		}
		said = append(said, f[0]+" "+came)
	}
	return strings.Join(said, ", ")
}

type stepper struct{ f *os.File }

func (s *stepper) do(step string, args []string) error {
	a := append(args, "", "")
	size, _ := strconv.ParseInt(a[0], 10, 64)
	switch step {
	case "create":
		return s.open(a[0], os.O_CREATE|os.O_RDWR|os.O_TRUNC)
	case "open":
		return s.open(a[0], os.O_RDWR)
	case "rename":
		return os.Rename(a[0], a[1])
	case "link":
		return os.Link(a[0], a[1])
	case "mkdir":
		return os.Mkdir(a[0], 0o755)
	case "unlink":
		return unix.Unlink(a[0])
	case "fsyncdir":
		d, err := os.Open(a[0])
		if err != nil {
			return err
		}
		defer d.Close()
		return d.Sync()
	}
	if s.f == nil {
		return syscall.EBADF
	}
	switch step {
	case "write":
		_, err := s.f.WriteString(a[0])
		return err
	case "copy", "copyrange":
		from, err := os.Open(a[0])
		if err != nil {
			return err
		}
		defer from.Close()
		if step == "copy" {
			_, err = io.Copy(struct{ io.Writer }{s.f}, struct{ io.Reader }{from})
			return err
		}
		return copyRange(s.f, from)
	case "truncate":
		return s.f.Truncate(size)
	case "fallocate":
		return fallocate(s.f, size)
	case "fsync":
		return s.f.Sync()
	case "flock":
		return unix.Flock(int(s.f.Fd()), unix.LOCK_EX)
	case "close":
		err := s.f.Close()
		s.f = nil
		return err
	}
	return errors.New("no such step: " + step)
}

func (s *stepper) open(path string, flag int) error {
	if s.f != nil {
		return fmt.Errorf("%s is still open", s.f.Name())
	}
	f, err := os.OpenFile(path, flag, 0o644)
	s.f = f
	return err
}
