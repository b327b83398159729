//go:build unix

package ingest

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// written gives the bytes of a file that were surely written, by where it has no
// holes. A block of which only the beginning was written is left out, unless the file
// ends there; but one that another part follows at once passes for written. A file system
// that knows of no holes says that all of it was. Where that is wrong the whole doesn't
// match, and is fetched anew.
func written(f *os.File) (spans, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var ss spans
	block := int64(st.Sys().(*syscall.Stat_t).Blksize)
	for at := int64(0); at < st.Size(); {
		data, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, syscall.ENXIO) { // only a hole follows
			break
		}
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
			return spans{{0, st.Size()}}, nil
		}
		if err != nil {
			return nil, err
		}
		hole, err := f.Seek(data, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		end := hole
		if hole < st.Size() {
			end = hole - block
		}
		ss = ss.with(span{data, min(end, st.Size())})
		at = hole
	}
	_, err = f.Seek(0, io.SeekStart)
	return ss, err
}
