package fs

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/opencontainers/go-digest"
)

// identity tells an entry from all others of its type. go-fuse shows entries of one type
// and one identity as the same node, and the kernel then takes one for the other, so no
// registry must be able to choose names that give it the identity of something else.
type identity struct {
	ino uint64 // the inode number, which programs see
	gen uint64 // the generation of the inode
}

// rootIdentity is the identity of the mountpoint. FUSE sets the number; no other entry has it.
var rootIdentity = identity{ino: 1}

// identity gives the identity of an entry here with the content d ("" where the content
// doesn't tell it from another). The path from the registry down and d alone decide it, so
// it is the same after a remount, whatever part of the tree is mounted.
//
// SHA-256 makes the names that share an identity as hard to find as 126 of its bits are. A
// hash that is fast to reverse, such as FNV, lets a registry find the name of a victim's
// directory in seconds.
func (p place) identity(d digest.Digest) identity {
	full := p.full()
	// The length in front says where the path ends, so no two pairs have the same encoding.
	// The buffer has room for most, so that a listing of many names allocates nothing here.
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 256), uint64(len(full)))
	b = append(b, full...)
	b = append(b, d...)
	sum := sha256.Sum256(b)
	// go-fuse reserves the upper half of the numbers, and 0; FUSE reserves 1.
	ino := binary.BigEndian.Uint64(sum[:])&^(1<<63) | 2
	return identity{ino: ino, gen: binary.BigEndian.Uint64(sum[8:])}
}
