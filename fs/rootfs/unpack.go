package rootfs

import "io"

// Limits bounds what a blob may unpack to.
type Limits struct {
	Bytes int64 // at most so many bytes; 0: no bound
	// Packed is the size of the blob in bytes. A blob may unpack to 1000 times its size, or
	// to 1 GiB if that is more.
	Packed int64
}

// Unpack gives the archive that is packed in r. The first bytes tell how it is packed, whatever
// the media type says. Its reads fail with ErrTooLarge beyond the limits, with ErrCorrupt where
// the packing is malformed, and with ErrNoArchive where it can't be read. When it gives io.EOF,
// all of r has been read. Close must be called; it doesn't close r.
func Unpack(r io.Reader, l Limits) (io.ReadCloser, error) { panic("to be built") }
