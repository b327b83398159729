package rootfs

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"time"

	"github.com/opencontainers/go-digest"
)

// Index lists what is in one archive. It is read by parts from an io.ReaderAt, and safe for
// concurrent use. It keeps at most 80 KiB of what it read. An error of any method means that the
// index can't be read; it is ErrIndex if the index is malformed.
type Index struct {
	layout
	inodePages *pages
	classPages *pages
	r          *pages // for all else
}

// Open opens an index of a size in bytes, as Scanned.Encode wrote it. An index that is malformed
// or of another version is ErrIndex: it has to be made anew.
func Open(r io.ReaderAt, size int64) (*Index, error) {
	b := make([]byte, min(max(size, 0), maxHeader))
	if err := readFull(r, b, 0); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if len(b) < headerSize || string(b[:8]) != indexMagic {
		return nil, errIndex("not an index")
	}
	if v := le.Uint32(b[8:]); v != indexVersion {
		return nil, errIndex(fmt.Sprintf("version %d; this program reads version %d", v, indexVersion))
	}
	n := int(le.Uint32(b[12:]))
	if n < headerSize+4 || n > len(b) || crc32.ChecksumIEEE(b[:n-4]) != le.Uint32(b[n-4:]) {
		return nil, errIndex("damaged header")
	}
	var h header
	c := b[16:]
	for _, f := range []*uint32{&h.inodes, &h.classes, &h.blocks, &h.names, &h.heap, &h.notes} {
		*f = le.Uint32(c)
		c = c[4:]
	}
	h.base, h.meta.Size = int64(le.Uint64(c)), int64(le.Uint64(c[8:]))
	c = c[16:]
	copy(h.widths[:], c)
	h.offset = c[columns]
	packed, diff := int(c[columns+1]), int(c[columns+2])
	if headerSize+packed+diff+4 != n {
		return nil, errIndex("damaged header")
	}
	c = c[columns+3:]
	h.meta.Packed, h.meta.DiffID = digest.Digest(c[:packed]), digest.Digest(c[packed:packed+diff])
	for _, w := range append(h.widths[:], h.offset) {
		if w > 8 {
			return nil, errIndex("damaged header")
		}
	}
	l := h.sections(int64(n))
	if l.end != size || h.inodes == 0 || h.classes == 0 {
		return nil, errIndex(fmt.Sprintf("it has %d bytes, and should have %d", size, l.end))
	}
	return &Index{
		layout:     l,
		inodePages: newPages(r, size, keptInodes),
		classPages: newPages(r, size, keptClasses),
		r:          newPages(r, size, keptOthers),
	}, nil
}

// Meta says of which blob the index is.
func (x *Index) Meta() Meta { return x.meta }

// Len counts the Inos.
func (x *Index) Len() int { return int(x.inodes) }

// Notes gives what isn't shown of the archive: the first hundred, and how many there are.
func (x *Index) Notes() ([]Note, int, error) {
	b := make([]byte, x.notes)
	if err := readFull(x.r, b, x.notesAt); err != nil {
		return nil, 0, err
	}
	bad := errIndex("damaged notes")
	count, w := binary.Uvarint(b)
	if w <= 0 || count > math.MaxInt32 {
		return nil, 0, bad
	}
	b = b[w:]
	var notes []Note
	for len(b) > 0 {
		var v [2]string
		for i := range v {
			s, ok := cutString(b)
			if !ok {
				return nil, 0, bad
			}
			v[i] = string(s)
			b = b[len(s)+uvarintLen(len(s)):]
		}
		notes = append(notes, Note{v[0], v[1]})
	}
	return notes, int(count), nil
}

// inodeRecord is a decoded record of an inode.
type inodeRecord struct {
	class
	size, place uint64
	mtime       int64
	nsec        uint32
}

// inode reads the record of an Ino.
func (x *Index) inode(i Ino) (n inodeRecord, err error) {
	if uint32(i) >= x.inodes {
		return n, errIndex(fmt.Sprintf("Ino %d of %d", i, x.inodes))
	}
	var buf [columns * 8]byte
	b := buf[:x.record]
	if err := readFull(x.inodePages, b, x.inodesAt+int64(i)*x.record); err != nil {
		return n, err
	}
	var row [columns]uint64
	for c, w := range x.widths {
		row[c] = readWidth(b[:w])
		b = b[w:]
	}
	if row[colClass] >= uint64(x.classes) || row[colNanos] >= 1e9 || row[colSize] > math.MaxInt64 {
		return n, errIndex("damaged record")
	}
	n.size, n.place, n.mtime, n.nsec = row[colSize], row[colPlace], x.base+int64(row[colSeconds]), uint32(row[colNanos])
	b = buf[:classSize]
	if err := readFull(x.classPages, b, x.classesAt+int64(row[colClass])*classSize); err != nil {
		return n, err
	}
	for _, f := range n.fields() {
		*f = binary.LittleEndian.Uint32(b)
		b = b[4:]
	}
	return n, nil
}

func (n *inodeRecord) is(fileType uint32) bool { return n.mode&typeMask == fileType }

// Attr gives the attributes of an Ino.
func (x *Index) Attr(i Ino) (Attr, error) {
	n, err := x.inode(i)
	if err != nil {
		return Attr{}, err
	}
	a := Attr{Mode: n.mode, UID: n.uid, GID: n.gid, Mtime: time.Unix(n.mtime, int64(n.nsec)), Rdev: n.rdev, Nlink: n.nlink,
		Described: n.flags&uint32(described) != 0}
	if n.is(typeFile) || n.is(typeSymlink) {
		a.Size = int64(n.size)
	}
	return a, nil
}

// Target gives the target of a symlink, byte for byte as in the archive, or of a LowerLink: a
// clean path below the root, without a slash at its start.
func (x *Index) Target(i Ino) (string, error) {
	n, err := x.inode(i)
	if err != nil {
		return "", err
	}
	if !n.is(typeSymlink) && n.mode != 0 {
		return "", fmt.Errorf("Ino %d is no link", i)
	}
	b, err := x.heapBytes(n.place, n.size)
	return string(b), err
}

// heapBytes reads from the heap.
func (x *Index) heapBytes(at, n uint64) ([]byte, error) {
	if at > uint64(x.heap) || n > uint64(x.heap)-at {
		return nil, errIndex("damaged place in the heap")
	}
	b := make([]byte, n)
	return b, readFull(x.r, b, x.heapAt+int64(at))
}

// heapString reads a string with its length before it from the heap.
func (x *Index) heapString(at uint64) ([]byte, error) {
	if at >= uint64(x.heap) {
		return nil, errIndex("damaged place in the heap")
	}
	head, err := x.heapBytes(at, min(binary.MaxVarintLen32, uint64(x.heap)-at))
	if err != nil {
		return nil, err
	}
	n, w := binary.Uvarint(head)
	if w <= 0 {
		return nil, errIndex("damaged length in the heap")
	}
	return x.heapBytes(at+uint64(w), n)
}

// Xattrs gives the extended attributes of an Ino; nil: none.
func (x *Index) Xattrs(i Ino) (map[string]string, error) {
	n, err := x.inode(i)
	if err != nil || n.xattr == 0 {
		return nil, err
	}
	b, err := x.heapString(uint64(n.xattr - 1))
	if err != nil {
		return nil, err
	}
	all, ok := decodeXattrs(b)
	if !ok {
		return nil, errIndex("damaged attributes")
	}
	return all, nil
}

// Data gives where a file's bytes are in the unpacked archive.
func (x *Index) Data(i Ino) (Data, error) {
	n, err := x.inode(i)
	if err != nil {
		return Data{}, err
	}
	d := Data{Size: int64(n.size)}
	switch {
	case !n.is(typeFile):
		return Data{}, fmt.Errorf("Ino %d is no file", i)
	case n.flags&uint32(sparse) != 0:
		b, err := x.heapString(n.place)
		if err != nil {
			return Data{}, err
		}
		var ok bool
		if d.Extents, ok = decodeExtents(b, d.Size, x.meta.Size); !ok {
			return Data{}, errIndex("damaged map of a sparse file")
		}
	case n.size > 0:
		from := int64(n.place) * block
		if n.place > math.MaxInt64/block || from > x.meta.Size || d.Size > x.meta.Size-from {
			return Data{}, errIndex("a file's bytes are beyond the archive")
		}
		d.Extents = []Extent{{From: from, Len: d.Size}}
	}
	return d, nil
}
