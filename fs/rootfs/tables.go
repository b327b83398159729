package rootfs

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
)

// Bounds of one archive. The largest images that are known have some 800,000 entries in all of
// their layers together.
const (
	maxEntries = 2_000_000 // of entries, of names and of Inos, each
	maxStrings = 256 << 20 // bytes of names, targets, attributes and maps of sparse files
)

// none is no inode.
const none = ^uint32(0)

// table is a growing list without pointers in it. It grows without copying, and costs the garbage
// collector nothing.
type table[T any] struct {
	chunks []*[chunk]T
	n      uint32
	most   uint32 // how many it may have
}

const chunk = 1 << 11

func (t *table[T]) at(i uint32) *T { return &t.chunks[i/chunk][i%chunk] }

// add appends v and gives its number.
func (t *table[T]) add(v T) (uint32, error) {
	if t.n >= t.most {
		return 0, fmt.Errorf("%w: more than %d entries", ErrTooLarge, t.most)
	}
	if int(t.n/chunk) == len(t.chunks) {
		t.chunks = append(t.chunks, new([chunk]T))
	}
	t.n++
	*t.at(t.n - 1) = v
	return t.n - 1, nil
}

// ref is a string in stringTable. Equal strings have equal refs. 0 is the empty string.
type ref uint32

// stringTable keeps each string once.
type stringTable struct {
	bytes []byte // the strings, each behind its length as a uvarint
	slots []ref  // an open hash table of refs; 0: free
	n     int    // how many slots are taken
	seed  maphash.Seed
}

func newStringTable() *stringTable {
	return &stringTable{bytes: []byte{0}, slots: make([]ref, 1<<8), seed: maphash.MakeSeed()}
}

func (t *stringTable) get(r ref) []byte {
	n, w := binary.Uvarint(t.bytes[r:])
	at := int(r) + w
	return t.bytes[at : at+int(n) : at+int(n)]
}

// find gives the ref of s, or the free slot where it would be.
func (t *stringTable) find(s string) (r ref, slot int) {
	if s == "" {
		return 0, -1
	}
	mask := len(t.slots) - 1
	for slot = int(maphash.String(t.seed, s)) & mask; ; slot = (slot + 1) & mask {
		r := t.slots[slot]
		if r == 0 || string(t.get(r)) == s {
			return r, slot
		}
	}
}

// add gives the ref of s, which it keeps.
func (t *stringTable) add(s string) (ref, error) {
	r, slot := t.find(s)
	if r != 0 || s == "" {
		return r, nil
	}
	if len(t.bytes)+len(s)+binary.MaxVarintLen32 > maxStrings {
		return 0, fmt.Errorf("%w: more than %d bytes of names", ErrTooLarge, maxStrings)
	}
	r = ref(len(t.bytes))
	t.bytes = binary.AppendUvarint(t.bytes, uint64(len(s)))
	t.bytes = append(t.bytes, s...)
	t.slots[slot] = r
	if t.n++; t.n > len(t.slots)/4*3 {
		old := t.slots
		t.slots = make([]ref, 2*len(old))
		for _, r := range old {
			if r != 0 {
				t.put(r)
			}
		}
	}
	return r, nil
}

// put puts a string that isn't there into a free slot.
func (t *stringTable) put(r ref) {
	mask := len(t.slots) - 1
	slot := int(maphash.Bytes(t.seed, t.get(r))) & mask
	for t.slots[slot] != 0 {
		slot = (slot + 1) & mask
	}
	t.slots[slot] = r
}

// name is one name in a directory.
type name struct {
	dir  uint32 // the inode of the directory
	name ref
	ino  uint32 // the inode that is named
}

// nameTable has every name of every directory. A name is replaced by another inode, never taken
// away, until the archive is over. The names in a directory that was replaced stay, and nothing
// leads to them.
type nameTable struct {
	table[name]
	slots []uint32 // an open hash table: numbers of names, plus 1; 0: free
	mix   [2]uint64
}

func newNameTable(most uint32) *nameTable {
	// The hash depends on chance, so that no archive can be written to make it slow.
	return &nameTable{
		table: table[name]{most: most},
		slots: make([]uint32, 1<<8),
		mix:   [2]uint64{rand.Uint64() | 1, rand.Uint64() | 1},
	}
}

func (t *nameTable) hash(dir uint32, n ref) int {
	h := (uint64(dir)<<32 | uint64(n)) * t.mix[0]
	h = (h ^ h>>32) * t.mix[1]
	return int(h >> 33)
}

// find gives the number of a name; none: the directory never had it.
func (t *nameTable) find(dir uint32, n ref) uint32 {
	mask := len(t.slots) - 1
	for slot := t.hash(dir, n) & mask; ; slot = (slot + 1) & mask {
		i := t.slots[slot]
		if i == 0 {
			return none
		}
		if e := t.at(i - 1); e.dir == dir && e.name == n {
			return i - 1
		}
	}
}

// add adds a name that the directory doesn't have, and gives its number.
func (t *nameTable) add(e name) (uint32, error) {
	i, err := t.table.add(e)
	if err != nil {
		return 0, err
	}
	if int(t.n) > len(t.slots)/4*3 {
		t.slots = make([]uint32, 2*len(t.slots))
		for k := range t.n - 1 {
			t.put(k)
		}
	}
	t.put(i)
	return i, nil
}

func (t *nameTable) put(i uint32) {
	mask := len(t.slots) - 1
	e := t.at(i)
	slot := t.hash(e.dir, e.name) & mask
	for t.slots[slot] != 0 {
		slot = (slot + 1) & mask
	}
	t.slots[slot] = i + 1
}
