package rootfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// block is the unit of a tar, in bytes.
const block = 512

func blockUp(n int64) int64 { return (n + block - 1) &^ (block - 1) }

// source counts what archive/tar reads, and skips what it doesn't want to see.
type source struct {
	r   *bufio.Reader
	n   int64 // bytes read or skipped so far
	err error // of the reader below, other than io.EOF
}

func (s *source) keep(err error) error {
	if err != nil && err != io.EOF {
		s.err = err
	}
	return err
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	return n, s.keep(err)
}

// Seek skips bytes; archive/tar seeks in no other way, from the current position on.
func (s *source) Seek(off int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || off < 0 {
		return 0, errors.ErrUnsupported
	}
	for off > 0 {
		n, err := s.r.Discard(int(min(off, 1<<30)))
		s.n += int64(n)
		off -= int64(n)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
			return 0, err
		} else if err != nil {
			return 0, s.keep(err)
		}
	}
	return s.n, nil
}

// begin says whether a tar begins here, or nothing at all.
func (s *source) begin() error {
	b, err := s.r.Peek(block)
	switch {
	case err != nil && err != io.EOF:
		return err
	case len(b) == 0:
		return nil
	case !beginsTar(b):
		return fmt.Errorf("%w: the first block is no tar header", ErrNoArchive)
	}
	return nil
}

// drain reads what is left.
func (s *source) drain() error {
	for {
		if _, err := s.r.Discard(1 << 20); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// beginsTar says whether a tar may begin with b: by the checksum of the header, which V7 tar has
// as well as POSIX and GNU tar, or with zeros, as an empty archive does.
func beginsTar(b []byte) bool {
	if len(b) < block {
		return false
	}
	b = b[:block]
	if bytes.Count(b, []byte{0}) == block {
		return true
	}
	const at, size = 148, 8 // of the checksum, which counts as blanks itself
	unsigned, signed := int64(size*' '), int64(size*' ')
	for i, c := range b {
		if i < at || i >= at+size {
			unsigned += int64(c)
			signed += int64(int8(c))
		}
	}
	sum, ok := parseNumber(b[at : at+size])
	return ok && (sum == unsigned || sum == signed)
}
