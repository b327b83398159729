package cache

import (
	"fmt"
	"os"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

// File is an open blob, complete and verified. It is safe for concurrent use.
// Its bytes stay readable until Close, whatever happens to the cache meanwhile.
type File struct {
	s      *shared
	closed atomic.Bool
}

// shared is one descriptor that several Files read from: a thousand readers who
// waited for one download take one.
type shared struct {
	store  *Store
	f      *os.File
	digest digest.Digest
	size   int64
	inode  uint64                // of the file
	refs   int                   // guarded by store.mu
	lost   atomic.Pointer[error] // what the disk said of bytes that it didn't take
}

// ReadAt reads as io.ReaderAt does. What the disk can't read is ErrUnreadable: the file is set
// aside then, and Get gives another.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.s.f.ReadAt(p, off)
	if lost := f.s.lost.Load(); lost != nil {
		return 0, *lost
	}
	if unreadable(err) {
		f.s.store.unreadable.Store(true)
		f.s.store.setAside(f.s.digest, f.s.f, fmt.Sprintf("the disk can't read it: %v", err))
		err = fmt.Errorf("%s: %w: %w", f.s.digest, ErrUnreadable, err)
	}
	return n, err
}

// Reads is false once the disk failed to read a blob. Then a kernel that reads past the File
// would meet such an error where nobody learns of it.
func (s *Store) Reads() bool { return !s.unreadable.Load() }

// Size is the blob's size in bytes.
func (f *File) Size() int64 { return f.s.size }

// Digest is the blob's digest.
func (f *File) Digest() digest.Digest { return f.s.digest }

// Inode tells the cache file from another that took its place, for as long as neither is
// removed.
func (f *File) Inode() uint64 { return f.s.inode }

// Fd is a descriptor of the cache file, to be read only. It is valid until
// Close.
func (f *File) Fd() uintptr { return f.s.f.Fd() }

// Close closes the file. A second call does nothing.
func (f *File) Close() error {
	if f.closed.Swap(true) {
		return nil
	}
	return f.s.release()
}

func (s *shared) release() error {
	s.store.mu.Lock()
	s.refs--
	last := s.refs == 0
	s.store.mu.Unlock()
	if !last {
		return nil
	}
	s.store.windows.drop(s)
	err := s.f.Close()
	s.store.ledger.unpin(s.digest)
	s.store.settle()
	return err
}
