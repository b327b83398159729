package rootfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"sort"
)

// directory gives the first block of a directory, how many blocks it has, and how many names.
func (x *Index) directory(dir Ino) (first, blocks, names uint64, ok bool, err error) {
	n, err := x.inode(dir)
	if err != nil || !n.is(typeDir) {
		return 0, 0, 0, false, err
	}
	blocks = (n.size + blockNames - 1) / blockNames
	if n.place > uint64(x.blocks) || blocks > uint64(x.blocks)-n.place {
		return 0, 0, 0, false, errIndex("damaged directory")
	}
	return n.place, blocks, n.size, true, nil
}

// blockBytes reads blocks of names.
func (x *Index) blockBytes(first, n uint64) ([]byte, error) {
	var at [2]uint64
	var buf [8]byte
	for i, k := range [2]uint64{first, first + n} {
		b := buf[:x.offset]
		if err := readFull(x.r, b, x.blocksAt+int64(k)*int64(x.offset)); err != nil {
			return nil, err
		}
		at[i] = readWidth(b)
	}
	if at[0] > at[1] || at[1] > uint64(x.names) {
		return nil, errIndex("damaged block")
	}
	b := make([]byte, at[1]-at[0])
	return b, readFull(x.r, b, x.namesAt+int64(at[0]))
}

// blockReader reads names one after the other.
type blockReader struct {
	b    []byte
	k    uint64 // how many names were read
	name []byte // the last one that was read
	ino  int64  // its Ino
}

// next reads the next name. ok is false if it is malformed.
func (r *blockReader) next() (ok bool) {
	if r.k%blockNames == 0 {
		r.name, r.ino = r.name[:0], -1
	}
	r.k++
	common, w := binary.Uvarint(r.b)
	if w <= 0 || common > uint64(len(r.name)) {
		return false
	}
	suffix, ok := cutString(r.b[w:])
	if !ok || common+uint64(len(suffix)) > maxComponent {
		return false
	}
	r.b = r.b[w+uvarintLen(len(suffix))+len(suffix):]
	r.name = append(r.name[:common], suffix...)
	d, w := binary.Varint(r.b)
	if w <= 0 {
		return false
	}
	r.b = r.b[w:]
	r.ino += d + 1
	return len(r.name) > 0 && r.ino >= 0 && r.ino <= math.MaxUint32
}

// child checks an Ino that a directory has, and gives its mode. A directory's Ino is higher than
// that of the directory above it, so no walk goes round.
func (x *Index) child(dir Ino, i int64) (uint32, error) {
	n, err := x.inode(Ino(i))
	if err == nil && n.is(typeDir) && i <= int64(dir) {
		err = errIndex("a directory is in itself")
	}
	return n.mode, err
}

// Lookup finds a name in a directory. ok is false if the directory doesn't have it, or dir is no
// directory.
func (x *Index) Lookup(dir Ino, name string) (i Ino, ok bool, err error) {
	first, blocks, names, ok, err := x.directory(dir)
	if err != nil || !ok || names == 0 {
		return 0, false, err
	}
	// The name is in the block before the first one that begins with a greater name.
	var r blockReader
	k := sort.Search(int(blocks), func(k int) bool {
		if err != nil {
			return true
		}
		var b []byte
		if b, err = x.blockBytes(first+uint64(k), 1); err != nil {
			return true
		}
		if r = (blockReader{b: b}); !r.next() {
			err = errIndex("damaged names")
			return true
		}
		return string(r.name) > name
	})
	if err != nil || k == 0 {
		return 0, false, err
	}
	b, err := x.blockBytes(first+uint64(k-1), 1)
	if err != nil {
		return 0, false, err
	}
	r = blockReader{b: b}
	for range min(blockNames, names-uint64(k-1)*blockNames) {
		if !r.next() {
			return 0, false, errIndex("damaged names")
		}
		switch c := bytes.Compare(r.name, []byte(name)); {
		case c == 0:
			_, err := x.child(dir, r.ino)
			return Ino(r.ino), err == nil, err
		case c > 0:
			return 0, false, nil
		}
	}
	return 0, false, nil
}

// List gives the names in a directory, in byte order.
func (x *Index) List(dir Ino) ([]Name, error) {
	first, blocks, names, ok, err := x.directory(dir)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("Ino %d is no directory", dir)
	}
	if names == 0 {
		return nil, nil
	}
	b, err := x.blockBytes(first, blocks)
	if err != nil {
		return nil, err
	}
	// A name needs more than one byte.
	if names > uint64(len(b)) {
		return nil, errIndex("damaged names")
	}
	list := make([]Name, 0, names)
	r := blockReader{b: b}
	for range names {
		if !r.next() || len(list) > 0 && string(r.name) <= list[len(list)-1].Name {
			return nil, errIndex("damaged names")
		}
		mode, err := x.child(dir, r.ino)
		if err != nil {
			return nil, err
		}
		list = append(list, Name{Name: string(r.name), Ino: Ino(r.ino), Mode: mode})
	}
	return list, nil
}

// cutString reads a string behind its length as a uvarint.
func cutString(b []byte) (s []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w != uvarintLen(int(n)) || n > uint64(len(b)-w) {
		return nil, false
	}
	return b[w:][:n], true
}

func uvarintLen(n int) int {
	w := 1
	for ; n >= 0x80; n >>= 7 {
		w++
	}
	return w
}
