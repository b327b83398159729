package cache

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
)

// lockPoll is how often it is looked whether another process is through with a
// download.
const lockPoll = 50 * time.Millisecond

// partial is a download's file, locked against other processes.
type partial struct {
	f     *os.File
	path  string // "" for an unnamed file, which is never kept
	found *File  // set instead of all else where the blob appeared meanwhile
}

// partialFile opens and locks the partial file of d. While another process has
// it, this waits; what that one made is taken.
func (s *Store) partialFile(ctx context.Context, d digest.Digest) (*partial, error) {
	path := s.partial(d)
	for {
		var f *os.File
		err := s.retry(s.partials(), func() (err error) {
			f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
			return err
		})
		if err != nil {
			s.degrade(err)
			return unnamed()
		}
		switch err := tryLock(f); {
		case errors.Is(err, syscall.EWOULDBLOCK):
			f.Close()
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(lockPoll):
			}
			continue
		case err != nil: // a file system without locks: the rename is atomic all the same
			s.log.Debug("partial file not locked", "cause", err)
		}
		// The name may have gone to the store, or nowhere, before the lock was ours.
		if !named(f, path) {
			f.Close()
			if found, err := s.open(d, -1); err == nil {
				return &partial{found: found}, nil
			}
			continue
		}
		if found, err := s.open(d, -1); err == nil {
			os.Remove(path)
			f.Close()
			return &partial{found: found}, nil
		}
		return &partial{f: f, path: path}, nil
	}
}

// unnamed is a file for when the cache directory can't be written.
func unnamed() (*partial, error) {
	f, err := os.CreateTemp("", "ocifs-*")
	if err != nil {
		return nil, noSpace(fmt.Errorf("neither the cache nor a temporary file can be written: %w", err))
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &partial{f: f}, nil
}

// named says whether path is still the name of f.
func named(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// rehash hashes what an earlier download left, and says how much that is. More
// than the blob has is of no use, nor is anything where its size isn't known: it may
// be all of it, and nothing can be asked for from its end on.
func (p *partial) rehash(ctx context.Context, h hash.Hash, size int64) (int64, error) {
	st, err := p.f.Stat()
	if err != nil {
		return 0, err
	}
	if size < 0 || st.Size() > size {
		return 0, p.f.Truncate(0)
	}
	return hashFrom(ctx, p.f, h, 0)
}

// hashFrom hashes what r has from an offset on, and gives where it ends.
func hashFrom(ctx context.Context, r io.ReaderAt, h hash.Hash, offset int64) (int64, error) {
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n, err := r.ReadAt(*bp, offset)
		h.Write((*bp)[:n])
		offset += int64(n)
		if err == io.EOF {
			return offset, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// discard gives the file up: its bytes are kept for the next to continue, unless
// they are of no use.
func (p *partial) discard(useless bool) {
	if st, err := p.f.Stat(); err == nil && st.Size() == 0 {
		useless = true
	}
	if useless && p.path != "" {
		_ = os.Remove(p.path) // under the lock; else the next one finds out
	}
	p.f.Close()
}
