package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// lockPoll is how often it is looked whether another process is through with a
	// download.
	lockPoll = 50 * time.Millisecond
	// lockPatience is how long another process is waited for that brings less than
	// fast in that time. It may be hashing what it found.
	lockPatience = 5 * time.Second
)

// partial is a download's file, locked against other processes.
type partial struct {
	f      *os.File
	path   string // "" for an unnamed file, which is never kept
	beside bool   // another has the name that the next one would look for
	found  *File  // set instead of all else where the blob appeared meanwhile
}

// partialFile opens and locks the partial file of d. While another has it, this
// waits, unless it is to be alone or the other is too slow: then it is a file
// beside. What another made meanwhile is taken.
func (s *Store) partialFile(ctx context.Context, d digest.Digest, alone bool) (*partial, error) {
	path := s.partial(d)
	slow := time.Now().Add(lockPatience)
	var seen int64
	for {
		if alone || time.Now().After(slow) {
			return s.besideFile(d)
		}
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
			if st, err := f.Stat(); err == nil && allocated(st)-seen >= fast {
				seen, slow = allocated(st), time.Now().Add(lockPatience)
			}
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
		s.ledger.takeUp(filepath.Base(path))
		step("partial made")
		return &partial{f: f, path: path}, nil
	}
}

// besideFile makes a partial file that nobody else looks for.
func (s *Store) besideFile(d digest.Digest) (*partial, error) {
	var f *os.File
	err := s.retry(s.partials(), func() (err error) {
		f, err = os.CreateTemp(s.partials(), filepath.Base(s.partial(d))+".*")
		return err
	})
	if err != nil {
		s.degrade(err)
		return unnamed()
	}
	if err := tryLock(f); err != nil { // nobody else can have it
		s.log.Debug("partial file not locked", "cause", err)
	}
	step("partial made beside")
	return &partial{f: f, path: f.Name(), beside: true}, nil
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

// abandon gives a partial file up: its bytes are kept for the next to continue, and
// counted, unless they are of no use.
func (s *Store) abandon(p *partial, useless bool) {
	st, err := p.f.Stat()
	if useless = useless || p.beside || err == nil && st.Size() == 0; useless && p.path != "" {
		_ = os.Remove(p.path) // under the lock; else the next one finds out
	}
	p.f.Close()
	if useless || p.path == "" || err != nil {
		return
	}
	s.ledger.leave(filepath.Base(p.path), allocated(st))
	s.evict(0)
}
