// Package imagetar reads a tar archive that is stored nowhere. It knows no file system, no registry
// and no images.
//
// # Nouns
//
// A Member is a file of the archive: a name, a size and its content. An Archive is the layout of
// its members one after the other: a header, the content, and zeros up to a full block for each,
// and two blocks of zeros at the end. The layout follows from the names and sizes alone, so that
// the size of the archive is known, and any part of it can be read, before any content is there.
//
// # The bytes
//
// The same members always give the same bytes. A header says nothing that differs from machine to
// machine: the owner is 0, the permissions are 0644, and all members have one time. It is in the
// USTAR format. A name or a size that USTAR can't express, such as a size of 8 GiB, has a PAX
// header in front (POSIX.1-2001, pax, "pax Interchange Format").
//
// An Archive holds no header, because headers of 20,000 members would be 10 MB. It makes them when
// they are read.
package imagetar

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"time"

	"github.com/opencontainers/go-digest"
)

// blockSize is the size in bytes to which headers and contents are filled up (POSIX.1-2001, pax,
// "ustar Interchange Format"). The end of an archive is endBlocks blocks of zeros.
const (
	blockSize = 512
	endBlocks = 2
)

// ErrTooLarge is the error of members that are together larger than a file can be.
var ErrTooLarge = errors.New("larger than any file")

// Member is a file of an archive.
type Member struct {
	Name string // a path with slashes
	Size int64  // of the content, in bytes
	// Bytes is the content; nil: whoever reads the archive gives it.
	Bytes []byte
}

// Content gives bytes of the member with the given index. It fills p, which is never beyond the
// member's size, or fails.
type Content func(member int, p []byte, off int64) error

// Archive is a tar archive. It doesn't change, and is safe for concurrent use.
type Archive struct {
	placed []placed
	mtime  time.Time // of all members
	end    int64     // the offset of the blocks at the end
	sum    digest.Digest
}

// placed is a member and its place in the archive.
type placed struct {
	Member
	start   int64 // the offset of its header
	content int64 // the offset of its content
}

// New lays out an archive with these members, in their order. All get the time mtime.
func New(members []Member, mtime time.Time) (*Archive, error) {
	a := &Archive{placed: make([]placed, 0, len(members)), mtime: mtime}
	sum := sha256.New()
	for _, m := range members {
		if m.Bytes != nil && int64(len(m.Bytes)) != m.Size {
			return nil, fmt.Errorf("lay out %q in a tar archive: it has %d bytes, not %d", m.Name, len(m.Bytes), m.Size)
		}
		header, err := a.header(m)
		if err != nil {
			return nil, err
		}
		sum.Write(header)
		sum.Write(m.Bytes)
		p := placed{m, a.end, a.end + int64(len(header))}
		a.placed = append(a.placed, p)
		if p.content < 0 || m.Size > math.MaxInt64-p.content-(1+endBlocks)*blockSize {
			return nil, fmt.Errorf("lay out %q of %d bytes in a tar archive, at offset %d: %w", m.Name, m.Size, p.start, ErrTooLarge)
		}
		a.end = full(p.content + m.Size)
	}
	a.sum = digest.NewDigest(digest.SHA256, sum)
	return a, nil
}

// full gives the end of the last block of n bytes.
func full(n int64) int64 { return (n + blockSize - 1) / blockSize * blockSize }

// header makes the header of a member, with its PAX header if it needs one.
func (a *Archive) header(m Member) ([]byte, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: m.Name, Size: m.Size, Mode: 0o644, ModTime: a.mtime})
	if err != nil {
		return nil, fmt.Errorf("make the tar header of %q: %w", m.Name, err)
	}
	return b.Bytes(), nil
}

// Members gives the number of members.
func (a *Archive) Members() int { return len(a.placed) }

// Size gives the size of the archive in bytes.
func (a *Archive) Size() int64 { return a.end + endBlocks*blockSize }

// Sum is the same for archives with the same members: names, sizes, and contents in Member.Bytes.
// If the names of the others say what is in them, archives with one Sum are the same. It isn't the
// digest of the archive.
func (a *Archive) Sum() digest.Digest { return a.sum }

// ReadAt reads as io.ReaderAt does. It calls content only for members without Bytes that the read
// touches, in their order.
func (a *Archive) ReadAt(p []byte, off int64, content Content) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read a tar archive at offset %d: %w", off, errOffset)
	}
	// The member in which the read begins: the last one that doesn't start behind it.
	k := sort.Search(len(a.placed), func(k int) bool { return a.placed[k].start > off }) - 1
	for ; n < len(p) && off < a.end; k++ {
		m, err := a.readMember(k, first(p[n:], a.endOf(k)-off), off, content)
		n += m
		off += int64(m)
		if err != nil {
			return n, err
		}
	}
	blocks := first(p[n:], a.Size()-off)
	clear(blocks)
	n += len(blocks)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// first gives the first n bytes of p, or all if it has fewer.
func first(p []byte, n int64) []byte { return p[:max(0, min(n, int64(len(p))))] }

var errOffset = errors.New("it is negative")

// endOf gives the offset behind the last block of a member.
func (a *Archive) endOf(k int) int64 {
	if k+1 < len(a.placed) {
		return a.placed[k+1].start
	}
	return a.end
}

// readMember fills p with the blocks of a member from an offset in the archive on. p ends with
// them at the latest.
func (a *Archive) readMember(k int, p []byte, off int64, content Content) (n int, err error) {
	m := &a.placed[k]
	if off < m.content {
		header, err := a.header(m.Member)
		if err != nil { // it could be made before
			return 0, err
		}
		n = copy(p, header[off-m.start:])
		off += int64(n)
	}
	if within := off - m.content; n < len(p) && within < m.Size {
		part := first(p[n:], m.Size-within)
		if m.Bytes != nil {
			copy(part, m.Bytes[within:])
		} else if err := content(k, part, within); err != nil {
			return n, err
		}
		n += len(part)
	}
	clear(p[n:])
	return len(p), nil
}
