package rootfs

import (
	"errors"
	"io"
	"slices"
)

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
// An archive that ends too early is io.ErrUnexpectedEOF.
func (d Data) ReadAt(archive io.ReaderAt, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("read before the start of a file")
	}
	if off >= d.Size {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	if int64(len(p)) > d.Size-off {
		p, err = p[:d.Size-off], io.EOF
	}
	// k is the first extent that doesn't end before off.
	k, _ := slices.BinarySearchFunc(d.Extents, off, func(e Extent, off int64) int {
		if e.At+e.Len <= off {
			return -1
		}
		return 1
	})
	for n < len(p) {
		at, rest := off+int64(n), p[n:]
		if k == len(d.Extents) {
			clear(rest)
			return len(p), err
		}
		e := d.Extents[k]
		if at < e.At {
			hole := rest[:min(int64(len(rest)), e.At-at)]
			clear(hole)
			n += len(hole)
			continue
		}
		piece := rest[:min(int64(len(rest)), e.At+e.Len-at)]
		got, rerr := archive.ReadAt(piece, e.From+at-e.At)
		n += got
		if got < len(piece) {
			if rerr == nil || rerr == io.EOF {
				rerr = io.ErrUnexpectedEOF
			}
			return n, rerr
		}
		k++
	}
	return n, err
}
