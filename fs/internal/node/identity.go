package node

import (
	"crypto/sha256"
	"encoding/binary"

	gofs "github.com/hanwen/go-fuse/v2/fs"
)

// Identity is different for each Entry of one type. go-fuse shows entries with the same type and
// identity as one node, and the kernel then confuses them. So no registry must be able to choose
// names that get the identity of something else.
type Identity struct {
	Ino uint64 // the inode number, which programs see
	Gen uint64 // the generation of the inode
}

// RootIdentity is the identity of the mountpoint. FUSE sets its number, and no other entry has
// it.
var RootIdentity = Identity{Ino: 1}

// IdentityOf gives the identity of the entry at a path with some content, such as a digest.
// content is "" if it doesn't distinguish the entry from another one. The path is that in a mount
// of all registries, so that identities are the same after a remount.
//
// SHA-256 makes two names with the same identity as hard to find as 126 of its bits allow. A hash
// that is fast to reverse, such as FNV, would let a registry find the name of a victim's
// directory in seconds.
func IdentityOf(path, content string) Identity {
	b := append(encoding(len(path)), path...)
	return identityOf(append(b, content...))
}

// IdentityIn is IdentityOf of Join(dir, name), which it doesn't make.
func IdentityIn(dir, name, content string) Identity {
	if dir == "" || name == "" {
		return IdentityOf(Join(dir, name), content)
	}
	b := append(encoding(len(dir)+1+len(name)), dir...)
	b = append(append(b, '/'), name...)
	return identityOf(append(b, content...))
}

// encoding begins the encoding of a path of so many bytes and a content, which follow. The length in
// front says where the path ends, so that no two pairs have the same encoding. The buffer is large
// enough for most pairs, so that a listing of many names allocates nothing here.
func encoding(path int) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 256), uint64(path))
}

func identityOf(encoded []byte) Identity {
	sum := sha256.Sum256(encoded)
	// go-fuse reserves the upper half of the numbers and 0. FUSE reserves 1.
	ino := binary.BigEndian.Uint64(sum[:])&^(1<<63) | 2
	return Identity{Ino: ino, Gen: binary.BigEndian.Uint64(sum[8:])}
}

// stable gives the attributes by which go-fuse tells nodes apart.
func (a Attr) stable() gofs.StableAttr {
	return gofs.StableAttr{Mode: a.Mode & fileType, Ino: a.Ino, Gen: a.Gen}
}
