package node

import (
	"crypto/sha256"
	"encoding/binary"

	gofs "github.com/hanwen/go-fuse/v2/fs"
)

// Identity tells an Entry from all others of its type. go-fuse shows entries of one type and
// one identity as the same node, and the kernel then takes one for the other, so no registry
// must be able to choose names that give it the identity of something else.
type Identity struct {
	Ino uint64 // the inode number, which programs see
	Gen uint64 // the generation of the inode
}

// RootIdentity is the identity of the mountpoint. FUSE sets the number; no other entry has it.
var RootIdentity = Identity{Ino: 1}

// IdentityOf gives the identity of the entry at a path with some content, such as a digest
// ("" where the content doesn't tell it from another). The path goes from the registry down,
// whatever part of the tree is mounted, so identities are the same after a remount.
//
// SHA-256 makes the names that share an identity as hard to find as 126 of its bits are. A
// hash that is fast to reverse, such as FNV, lets a registry find the name of a victim's
// directory in seconds.
func IdentityOf(path, content string) Identity {
	// The length in front says where the path ends, so no two pairs have the same encoding.
	// The buffer has room for most, so that a listing of many names allocates nothing here.
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 256), uint64(len(path)))
	b = append(b, path...)
	b = append(b, content...)
	sum := sha256.Sum256(b)
	// go-fuse reserves the upper half of the numbers, and 0; FUSE reserves 1.
	ino := binary.BigEndian.Uint64(sum[:])&^(1<<63) | 2
	return Identity{Ino: ino, Gen: binary.BigEndian.Uint64(sum[8:])}
}

// stable gives what go-fuse tells nodes apart by.
func (a Attr) stable() gofs.StableAttr {
	return gofs.StableAttr{Mode: a.Mode & fileType, Ino: a.Ino, Gen: a.Gen}
}
