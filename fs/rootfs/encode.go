package rootfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// encoder makes the sections of an index.
type encoder struct {
	s       *scanner
	c       children
	h       header
	classes map[class]uint32 // numbers, in the order in which Inos have them
	table   []class
	offsets []uint32          // where blocks begin, in names
	names   []byte            // the section names
	heap    []byte            // the section heap
	inHeap  map[ref]uint32    // where strings are in heap
	firsts  map[uint32]uint32 // by inode, of a directory with names: its first block
}

// Encode writes the index. The same archive always gives the same bytes.
func (s *Scanned) Encode(w io.Writer, m Meta) error {
	e := &encoder{s: s.s, c: s.children, classes: make(map[class]uint32), inHeap: make(map[ref]uint32),
		firsts: make(map[uint32]uint32)}
	for _, ino := range e.c.inos {
		if e.s.inodes.at(ino).is(typeDir) {
			e.directory(ino)
		}
	}
	e.offsets = append(e.offsets, uint32(len(e.names)))
	if err := e.measure(); err != nil {
		return err
	}
	notes := e.notes()
	h := &e.h
	h.meta = m
	h.inodes, h.classes, h.blocks = uint32(len(e.c.inos)), uint32(len(e.table)), uint32(len(e.offsets)-1)
	h.names, h.heap, h.notes = uint32(len(e.names)), uint32(len(e.heap)), uint32(len(notes))
	h.offset = width(uint64(len(e.names)))
	b, err := h.encode()
	if err != nil {
		return err
	}
	return e.write(w, b, notes)
}

// directory encodes the names in a directory.
func (e *encoder) directory(ino uint32) {
	var before []byte
	var last int64
	if e.c.count[ino] > 0 {
		e.firsts[ino] = uint32(len(e.offsets))
	}
	for k, at := range e.c.names[e.c.first[ino]:][:e.c.count[ino]] {
		n := e.s.names.at(at)
		base := e.s.strings.get(n.name)
		common := 0
		if k%blockNames == 0 {
			e.offsets = append(e.offsets, uint32(len(e.names)))
			last = -1
		} else {
			for common < len(base) && common < len(before) && base[common] == before[common] {
				common++
			}
		}
		e.names = binary.AppendUvarint(e.names, uint64(common))
		e.names = binary.AppendUvarint(e.names, uint64(len(base)-common))
		e.names = append(e.names, base[common:]...)
		i := int64(e.c.ino[n.ino])
		e.names = binary.AppendVarint(e.names, i-last-1)
		before, last = base, i
	}
}

// keep puts a string into the heap, behind its length if long is set, and says where it is.
func (e *encoder) keep(r ref, long bool) uint32 {
	at, ok := e.inHeap[r]
	if !ok {
		b := e.s.strings.get(r)
		at = uint32(len(e.heap))
		if long {
			e.heap = binary.AppendUvarint(e.heap, uint64(len(b)))
		}
		e.heap = append(e.heap, b...)
		e.inHeap[r] = at
	}
	return at
}

// class gives the number of an inode's class.
func (e *encoder) class(n *inode) uint32 {
	c := class{mode: n.mode, uid: n.uid, gid: n.gid, rdev: n.rdev, nlink: n.name, flags: uint32(n.flags & (described | sparse))}
	switch {
	case n.is(typeDir):
		c.nlink = 1
	case n.mode == 0:
		c.rdev = 0
	}
	if n.xattr != 0 {
		c.xattr = e.keep(n.xattr, true) + 1
	}
	i, ok := e.classes[c]
	if !ok {
		i = uint32(len(e.table))
		e.table = append(e.table, c)
		e.classes[c] = i
	}
	return i
}

// row gives the numbers in an inode's record.
func (e *encoder) row(ino uint32) (r [columns]uint64) {
	n := e.s.inodes.at(ino)
	r[colClass] = uint64(e.class(n))
	r[colSeconds] = uint64(n.mtime - e.h.base)
	r[colNanos] = uint64(n.nsec)
	switch {
	case n.is(typeDir):
		r[colSize], r[colPlace] = uint64(e.c.count[ino]), uint64(e.firsts[ino])
	case n.is(typeSymlink), n.mode == 0:
		r[colSize], r[colPlace] = uint64(n.size), uint64(e.keep(ref(n.data), false))
	case n.flags&sparse != 0:
		r[colSize], r[colPlace] = uint64(n.size), uint64(e.keep(ref(n.data), true))
	case n.is(typeFile) && n.size > 0:
		r[colSize], r[colPlace] = uint64(n.size), uint64(n.data/block)
	}
	return r
}

// measure finds the widths of the columns, the classes, and what is in the heap.
func (e *encoder) measure() error {
	e.h.base = math.MaxInt64
	for _, ino := range e.c.inos {
		e.h.base = min(e.h.base, e.s.inodes.at(ino).mtime)
	}
	for _, ino := range e.c.inos {
		for i, n := range e.row(ino) {
			e.h.widths[i] = max(e.h.widths[i], width(n))
		}
		// Names, targets and attributes together are bounded; each may be there twice.
		if len(e.heap) > 2*maxStrings || len(e.names) > math.MaxInt32 {
			return fmt.Errorf("%w: its index has more than %d bytes of strings", ErrTooLarge, 2*maxStrings)
		}
	}
	return nil
}

func (e *encoder) notes() []byte {
	b := binary.AppendUvarint(nil, uint64(e.s.noteCount))
	for _, n := range e.s.notes {
		for _, v := range []string{n.Name, n.Why} {
			b = binary.AppendUvarint(b, uint64(len(v)))
			b = append(b, v...)
		}
	}
	return b
}

// write writes all sections.
func (e *encoder) write(w io.Writer, head, notes []byte) error {
	var b bytes.Buffer
	flush := func() error {
		_, err := w.Write(b.Bytes())
		b.Reset()
		return err
	}
	b.Write(head)
	for _, c := range e.table {
		for _, f := range c.fields() {
			b.Write(binary.LittleEndian.AppendUint32(b.AvailableBuffer(), *f))
		}
	}
	for _, ino := range e.c.inos {
		for i, n := range e.row(ino) {
			b.Write(appendWidth(b.AvailableBuffer(), n, e.h.widths[i]))
		}
		if b.Len() > 64<<10 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	for _, o := range e.offsets {
		b.Write(appendWidth(b.AvailableBuffer(), uint64(o), e.h.offset))
	}
	if err := flush(); err != nil {
		return err
	}
	for _, section := range [][]byte{e.names, e.heap, notes} {
		if len(section) > 0 {
			if _, err := w.Write(section); err != nil {
				return err
			}
		}
	}
	return nil
}
