package rootfs

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A sparse file has a map of the pieces that aren't zeros, in one of four forms: in the header and
// in extension headers behind it (old GNU, type S), in PAX records (0.0 and 0.1), or in front of
// the data (PAX 1.0). See "Storing Sparse Files" in the manual of GNU tar. archive/tar checks all
// of them, but doesn't tell the map. It rewrites 0.0 to 0.1.

// readSparse finds out whether an entry is sparse, reads its map, and corrects e.stored.
func (e *entry) readSparse(raw io.ReaderAt) error {
	version := e.PAXRecords["GNU.sparse.major"] + "." + e.PAXRecords["GNU.sparse.minor"]
	records := e.PAXRecords["GNU.sparse.map"]
	if e.Typeflag == tar.TypeGNUSparse {
		version = "S"
	} else if version == "." && records != "" {
		version = "0.1"
	}
	if version != "S" && version != "0.0" && version != "0.1" && version != "1.0" {
		return nil
	}
	err := e.readMap(raw, version, records)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("map of the sparse file %q at byte %d: %w", e.Name, e.start, err)
	}
	return nil
}

func (e *entry) readMap(raw io.ReaderAt, version, records string) error {
	h, at, err := mainHeader(raw, e.start, e.data)
	if err != nil {
		return err
	}
	stored, ok := parseNumber(h[124:136])
	if s := e.PAXRecords["size"]; s != "" {
		stored, err = strconv.ParseInt(s, 10, 64)
		ok = err == nil
	}
	if !ok || stored < 0 {
		return errSparse
	}
	m := sparseMap{size: e.Size}
	switch version {
	case "S":
		err = m.readOldGNU(h[386:483], raw, at+block, e.data)
	case "1.0":
		// The map is a part of what is stored.
		stored -= e.data - (at + block)
		err = m.readText(io.NewSectionReader(raw, at+block, e.data-at-block))
	default:
		if records != "" {
			err = m.addText(strings.Split(records, ","))
		}
	}
	if err != nil {
		return err
	}
	if m.stored != stored {
		return errSparse
	}
	from := e.data
	for i := range m.extents {
		m.extents[i].From = from
		from += m.extents[i].Len
	}
	e.sparse, e.extents, e.stored = true, m.extents, stored
	return nil
}

var errSparse = fmt.Errorf("%w: malformed", ErrCorrupt)

// mainHeader gives the header of the entry whose first header is at start, and where it is: PAX
// headers and GNU's long names stand before it.
func mainHeader(raw io.ReaderAt, start, end int64) ([]byte, int64, error) {
	h := make([]byte, block)
	for at := start; at < end; {
		if err := readFull(raw, h, at); err != nil {
			return nil, 0, err
		}
		switch h[156] {
		case tar.TypeXHeader, tar.TypeGNULongName, tar.TypeGNULongLink:
			n, ok := parseNumber(h[124:136])
			if !ok || n < 0 || n > end-at {
				return nil, 0, errSparse
			}
			at += block + blockUp(n)
		default:
			return h, at, nil
		}
	}
	return nil, 0, errSparse
}

// sparseMap is a map while it is read.
type sparseMap struct {
	size    int64 // of the file
	extents []Extent
	stored  int64 // bytes in all extents
}

func (m *sparseMap) add(at, n int64) error {
	end := int64(0)
	if k := len(m.extents); k > 0 {
		end = m.extents[k-1].At + m.extents[k-1].Len
	}
	if at < end || n < 0 || at > m.size || n > m.size-at {
		return errSparse
	}
	if n > 0 {
		m.extents = append(m.extents, Extent{At: at, Len: n})
		m.stored += n
	}
	return nil
}

// readOldGNU reads pairs of numbers in a header, and in the extension headers that follow it.
// The first byte behind the pairs says whether another extension header follows.
func (m *sparseMap) readOldGNU(pairs []byte, raw io.ReaderAt, next, end int64) error {
	const pair = 24
	for {
		n := (len(pairs) - 1) / pair
		for i := range n {
			p := pairs[i*pair:][:pair]
			if p[0] == 0 {
				break
			}
			at, ok1 := parseNumber(p[:12])
			size, ok2 := parseNumber(p[12:])
			if !ok1 || !ok2 {
				return errSparse
			}
			if err := m.add(at, size); err != nil {
				return err
			}
		}
		if pairs[n*pair] == 0 {
			return nil
		}
		if next >= end {
			return errSparse
		}
		b := make([]byte, block)
		if err := readFull(raw, b, next); err != nil {
			return err
		}
		pairs, next = b[:21*pair+1], next+block
	}
}

// readText reads lines of one decimal number: how many pairs there are, then the pairs.
func (m *sparseMap) readText(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	count, rest, _ := strings.Cut(string(b), "\n")
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > len(rest) {
		return errSparse
	}
	lines := strings.SplitN(rest, "\n", 2*n+1)
	if len(lines) < 2*n {
		return errSparse
	}
	return m.addText(lines[:2*n])
}

func (m *sparseMap) addText(numbers []string) error {
	for ; len(numbers) >= 2; numbers = numbers[2:] {
		at, err1 := strconv.ParseInt(numbers[0], 10, 64)
		n, err2 := strconv.ParseInt(numbers[1], 10, 64)
		if err1 != nil || err2 != nil {
			return errSparse
		}
		if err := m.add(at, n); err != nil {
			return err
		}
	}
	return nil
}

// parseNumber reads a number of a tar header: octal digits between blanks and NULs, or base 256
// if the first bit is set.
func parseNumber(b []byte) (int64, bool) {
	if b[0]&0x80 != 0 {
		var x uint64
		negative := b[0]&0x40 != 0
		for i, c := range b {
			if negative {
				c = ^c
			}
			if i == 0 {
				c &= 0x7f
			}
			if x>>56 > 0 {
				return 0, false
			}
			x = x<<8 | uint64(c)
		}
		if x>>63 > 0 {
			return 0, false
		}
		if negative {
			return ^int64(x), true
		}
		return int64(x), true
	}
	s, _, _ := strings.Cut(strings.Trim(string(b), " \x00"), "\x00")
	if s == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(s, 8, 63)
	return int64(n), err == nil
}

// readFull fills p from an offset.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF || err == nil {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// encodeExtents packs a map: uvarints of each extent's distance from the end of the one before,
// and of its length. The first number is where the data begins in the archive; extents follow
// each other there.
func encodeExtents(x []Extent) string {
	var b []byte
	end := int64(0)
	for i, e := range x {
		if i == 0 {
			b = binary.AppendUvarint(b, uint64(e.From))
		}
		b = binary.AppendUvarint(b, uint64(e.At-end))
		b = binary.AppendUvarint(b, uint64(e.Len))
		end = e.At + e.Len
	}
	return string(b)
}

// decodeExtents is the reverse of encodeExtents, for a file of a size in an archive of a size.
func decodeExtents(b []byte, size, archive int64) ([]Extent, bool) {
	var x []Extent
	next := func(most int64) (int64, bool) {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(most) {
			return 0, false
		}
		b = b[w:]
		return int64(n), true
	}
	if len(b) == 0 {
		return nil, true
	}
	from, ok := next(archive)
	end := int64(0)
	for ok && len(b) > 0 {
		var gap, n int64
		if gap, ok = next(size - end); !ok {
			break
		}
		if n, ok = next(min(size-end-gap, archive-from)); !ok || n == 0 {
			ok = false
			break
		}
		x = append(x, Extent{At: end + gap, From: from, Len: n})
		end += gap + n
		from += n
	}
	return x, ok
}
