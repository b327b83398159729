package rootfs

import (
	"io"
)

// Index lists what is in one archive. It is read by parts from an io.ReaderAt, and safe for
// concurrent use. An error of any method means that the index can't be read.
type Index struct{ r io.ReaderAt }

// Open opens an index of a size in bytes, as Scanned.Encode wrote it. An index that is malformed
// or of another version is an error: it has to be made anew.
func Open(r io.ReaderAt, size int64) (*Index, error) { panic("to be built") }

// Meta says of which blob the index is.
func (x *Index) Meta() Meta { panic("to be built") }

// Len counts the Inos.
func (x *Index) Len() int { panic("to be built") }

// Notes gives what isn't shown of the archive: the first hundred, and how many there are.
func (x *Index) Notes() ([]Note, int, error) { panic("to be built") }

// Lookup finds a name in a directory. ok is false if the directory doesn't have it, or dir is no
// directory.
func (x *Index) Lookup(dir Ino, name string) (i Ino, ok bool, err error) { panic("to be built") }

// List gives the names in a directory, in byte order.
func (x *Index) List(dir Ino) ([]Name, error) { panic("to be built") }

// Attr gives the attributes of an Ino.
func (x *Index) Attr(i Ino) (Attr, error) { panic("to be built") }

// Target gives the target of a symlink, byte for byte as in the archive, or of a LowerLink: a
// clean path below the root, without a slash at its start.
func (x *Index) Target(i Ino) (string, error) { panic("to be built") }

// Xattrs gives the extended attributes of an Ino; nil: none.
func (x *Index) Xattrs(i Ino) (map[string]string, error) { panic("to be built") }

// Data gives where a file's bytes are in the unpacked archive.
func (x *Index) Data(i Ino) (Data, error) { panic("to be built") }

// Data is where the bytes of one file are in an unpacked archive.
type Data struct {
	Size    int64    // of the file, in bytes
	Extents []Extent // ascending; what they leave out reads as zeros
}

// Extent is one piece of a file's bytes.
type Extent struct {
	At, From, Len int64 // in bytes: At in the file, From in the archive
}

// ReadAt reads from the file at an offset, as io.ReaderAt does. archive is the unpacked archive.
func (d Data) ReadAt(archive io.ReaderAt, p []byte, off int64) (int, error) { panic("to be built") }

// Scanned is what Scan found in an archive.
type Scanned struct{}

// Scan reads an archive, plain tar, to the end of r, and lists what is in it. raw has the bytes
// that were read from r so far, at their offsets.
func Scan(r io.Reader, raw io.ReaderAt) (*Scanned, error) { panic("to be built") }

// Encode writes the index. The same archive always gives the same bytes.
func (s *Scanned) Encode(w io.Writer, m Meta) error { panic("to be built") }
