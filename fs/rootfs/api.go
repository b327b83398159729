package rootfs

import (
	"errors"
	"time"

	"github.com/opencontainers/go-digest"
)

// Errors of archives, for errors.Is.
var (
	// ErrCorrupt: the archive, or what it is packed in, breaks off or is malformed.
	ErrCorrupt = errors.New("malformed archive")
	// ErrTooLarge: the archive unpacks to more than is allowed, or has too many entries.
	ErrTooLarge = errors.New("the archive unpacks to more than is allowed")
	// ErrNoArchive: the bytes are no archive in a packing that is known.
	ErrNoArchive = errors.New("no archive")
)

// Ino is the number of a file, a directory or anything else in one Index. Names that are hard
// links of each other have the same Ino. It is stable: the same archive always gives the same
// numbers.
type Ino uint32

// Root is the Ino of an archive's root directory.
const Root Ino = 0

// Attr has the attributes that an archive gives to one Ino.
type Attr struct {
	// Mode has the file type and permission bits, as st_mode of stat(2). It is 0 for a
	// LowerLink.
	Mode     uint32
	UID, GID uint32
	Size     int64 // of a file or a symlink's target, in bytes; else 0
	Mtime    time.Time
	Rdev     uint32 // the number of a device, as the kernel encodes it in 32 bits
	Nlink    uint32 // how many names of this archive have the Ino; 1 for a directory or a symlink
	// Described is false for a directory that no entry of the archive describes. Of such
	// attributes only the file type means something.
	Described bool
}

// LowerLink says that the Ino is a hard link to a name that the archive doesn't have. In an image
// it means the file of that name in the layers below; Index.Target gives the name.
func (a Attr) LowerLink() bool { return a.Mode == 0 }

// Name is one name in a directory of an Index.
type Name struct {
	Name string // bytes; no '/', no NUL
	Ino  Ino
	Mode uint32 // Attr.Mode
}

// Meta says of which blob an Index is.
type Meta struct {
	Packed digest.Digest // of the blob, as the registry has it
	DiffID digest.Digest // of the archive, unpacked
	Size   int64         // of the archive, unpacked, in bytes
}

// Note is something in an archive that isn't shown, and why.
type Note struct {
	Name string // the entry's name, as it is in the archive; of a hard link it may be cleaned
	Why  string // a sentence without a full stop
}
