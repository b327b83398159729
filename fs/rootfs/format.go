package rootfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// The file of an index has these sections, one after the other. Numbers are little endian.
//
//	header   see header.encode
//	classes  fixed records: the attributes that many Inos have in common
//	inodes   fixed records, by Ino
//	blocks   where each block of names begins
//	names    blocks of names
//	heap     strings
//	notes    Notes
//
// A record of an inode has five numbers: the class, a size, a place, seconds since the earliest
// time, and nanoseconds. Each has as many bytes as the largest such number of the archive needs.
//
//	            size                  place
//	file        in bytes              offset in the archive / 512; 0 of an empty file
//	sparse      in bytes              in the heap: the map (see encodeExtents), behind its length
//	directory   how many names        the number of its first block
//	symlink     of the target         in the heap: the target
//	LowerLink   of the path           in the heap: the path
//	others      0                     0
//
// The names of a directory are in byte order, and fill whole blocks: 32 names a block, the last
// block has what is left. A directory begins a block. A name is
//
//	uvarint  how many bytes it has in common with the name before it; 0 of the first in a block
//	uvarint  how many bytes follow
//	bytes
//	varint   the Ino, less the Ino of the name before it, less 1. The first of a block: the Ino
//
// So a lookup is a binary search over the first names of a directory's blocks, and a listing is
// one read. Inos go by breadth, so nearly all differences are 0, and what a listing names is
// together in inodes.
const (
	indexMagic   = "ocifsidx"
	indexVersion = 1
	blockNames   = 32
	classSize    = 7 * 4
)

// ErrIndex is, for errors.Is, an index that is malformed or of another version. It has to be made
// anew.
var ErrIndex = errors.New("malformed index")

func errIndex(what string) error { return fmt.Errorf("%w: %s", ErrIndex, what) }

// The columns of an inode's record.
const (
	colClass = iota
	colSize
	colPlace
	colSeconds
	colNanos
	columns
)

// header is at the start of an index.
type header struct {
	meta    Meta
	inodes  uint32
	classes uint32
	blocks  uint32
	names   uint32 // bytes in the blocks
	heap    uint32 // bytes
	notes   uint32 // bytes
	base    int64  // the earliest mtime, in seconds since 1970
	widths  [columns]uint8
	offset  uint8 // bytes of each number in the section blocks
}

// headerSize is of what comes before the two digests: the magic, the version, the header's own
// size, six counts, two int64, the widths, and the lengths of the digests.
const headerSize = 8 + 4 + 4 + 6*4 + 2*8 + columns + 1 + 2

// maxHeader is the largest header: two digests of up to 255 bytes, and the checksum.
const maxHeader = headerSize + 2*255 + 4

func (h *header) encode() ([]byte, error) {
	packed, diff := string(h.meta.Packed), string(h.meta.DiffID)
	if len(packed) > 255 || len(diff) > 255 {
		return nil, fmt.Errorf("digest is longer than 255 bytes")
	}
	le := binary.LittleEndian
	b := append([]byte(nil), indexMagic...)
	b = le.AppendUint32(b, indexVersion)
	b = le.AppendUint32(b, uint32(headerSize+len(packed)+len(diff)+4))
	for _, n := range []uint32{h.inodes, h.classes, h.blocks, h.names, h.heap, h.notes} {
		b = le.AppendUint32(b, n)
	}
	b = le.AppendUint64(b, uint64(h.base))
	b = le.AppendUint64(b, uint64(h.meta.Size))
	b = append(b, h.widths[:]...)
	b = append(b, h.offset, uint8(len(packed)), uint8(len(diff)))
	b = append(b, packed...)
	b = append(b, diff...)
	return le.AppendUint32(b, crc32.ChecksumIEEE(b)), nil
}

// layout says where the sections are.
type layout struct {
	header
	record                                                       int64 // bytes of an inode's record
	classesAt, inodesAt, blocksAt, namesAt, heapAt, notesAt, end int64
}

// sections gives the layout behind a header of a size.
func (h *header) sections(size int64) layout {
	l := layout{header: *h, classesAt: size}
	for _, w := range h.widths {
		l.record += int64(w)
	}
	l.inodesAt = l.classesAt + int64(h.classes)*classSize
	l.blocksAt = l.inodesAt + int64(h.inodes)*l.record
	// One number more says where the last block ends.
	l.namesAt = l.blocksAt + (int64(h.blocks)+1)*int64(h.offset)
	l.heapAt = l.namesAt + int64(h.names)
	l.notesAt = l.heapAt + int64(h.heap)
	l.end = l.notesAt + int64(h.notes)
	return l
}

// class has what many Inos have in common.
type class struct {
	mode, uid, gid, rdev, nlink uint32
	xattr                       uint32 // in the heap, plus 1; 0: none
	flags                       uint32 // described, sparse
}

func (c *class) fields() [7]*uint32 {
	return [7]*uint32{&c.mode, &c.uid, &c.gid, &c.rdev, &c.nlink, &c.xattr, &c.flags}
}

// width says how many bytes a number needs.
func width(n uint64) uint8 {
	w := uint8(0)
	for ; n > 0; n >>= 8 {
		w++
	}
	return w
}

// appendWidth appends the w lowest bytes of n.
func appendWidth(b []byte, n uint64, w uint8) []byte {
	for range w {
		b = append(b, byte(n))
		n >>= 8
	}
	return b
}

// readWidth reads a number of as many bytes as b has.
func readWidth(b []byte) uint64 {
	n := uint64(0)
	for i := len(b) - 1; i >= 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n
}
