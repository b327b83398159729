package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// lockPoll is how often it is looked whether another process is through with a
	// download: as long as a round trip to a registry that is far.
	lockPoll = 50 * time.Millisecond
	// lockPatience is how long another process is waited for that brings less than fast
	// in that time. It may be hashing what it found: five seconds are some gigabytes.
	lockPatience = 5 * time.Second
	// privateTries is how many private files are made until a sweep takes none of them before it
	// is locked. A sweep comes twice a minute at most, for each process, and has a file for
	// microseconds: a second file is enough.
	privateTries = 3
)

// partial is the file that a download writes.
//
// A shared one has a name that every process looks for. Only who holds the lock writes it,
// and who comes later goes on with what it has. A private one has a random name and one
// writer, and is of no use to anyone else before it is whole. It needs no lock.
type partial struct {
	f       *os.File
	path    string // "": an unnamed file, which is never kept
	name    string // of the file in partial/ at first, by which the ledger knows it; "": an unnamed file
	private bool   // nobody else looks for path
	shared  string // the name that the file has besides, and that others look for; "": none
	found   *File  // set instead of all else where the blob appeared meanwhile
}

// partialWant says which partial file is wanted.
type partialWant struct {
	path  string                // of the shared one
	alone bool                  // a private one is wanted
	empty bool                  // the bytes that one has are of no use
	found func() (*File, error) // opens the blob, where another process brought it meanwhile
	// waits is told how many bytes another process has written, while that one is waited for.
	waits func(bytes int64)
}

// partialFile opens and locks a shared partial file. While another process has it, this waits
// for that one. It gives a private file where that is wanted, the other process is too slow, or
// locks can't be had; and what another process made meanwhile.
func (s *Store) partialFile(ctx context.Context, w partialWant) (*partial, error) {
	name := filepath.Base(w.path)
	slow := time.Now().Add(lockPatience)
	var seen int64
	for {
		if w.alone || s.noLocks.Load() != nil || time.Now().After(slow) {
			return s.privateFile(w.path)
		}
		var f *os.File
		err := s.retry(s.partials(), func() (err error) {
			f, err = os.OpenFile(w.path, os.O_RDWR|os.O_CREATE, 0o600)
			return err
		})
		if err != nil {
			s.degrade(err)
			return s.unnamed()
		}
		switch err := tryLock(f); {
		case errors.Is(err, syscall.EWOULDBLOCK):
			if st, err := f.Stat(); err == nil {
				w.waits(allocated(st))
				if allocated(st)-seen >= fast {
					seen, slow = allocated(st), time.Now().Add(lockPatience)
				}
			}
			f.Close()
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(lockPoll):
			}
			continue
		case err != nil:
			f.Close()
			s.withoutLocks(err)
			continue
		}
		// The name may have gone to the store, or nowhere, before the lock was ours.
		if !named(f, w.path) {
			s.ledger.dropped(name)
			f.Close()
			if found, err := w.found(); err == nil {
				return &partial{found: found}, nil
			}
			continue
		}
		if found, err := w.found(); err == nil {
			os.Remove(w.path)
			s.ledger.dropped(name)
			f.Close()
			return &partial{found: found}, nil
		}
		// A file isn't emptied: it may be a blob's too, where a crash came between the two names.
		if st, err := f.Stat(); w.empty && (err != nil || st.Size() > 0 || links(st) > 1) {
			err := os.Remove(w.path)
			s.ledger.dropped(name)
			f.Close()
			if err != nil && !gone(err) {
				s.degrade(err)
				return s.unnamed()
			}
			continue
		}
		s.ledger.takeUp(name)
		step("partial made")
		return &partial{f: f, path: w.path, name: name}, nil
	}
}

// privateFile makes a private partial file beside a shared one, or an unnamed file if that fails.
func (s *Store) privateFile(shared string) (*partial, error) {
	p, err := s.namedPrivateFile(shared)
	if err == nil {
		return p, nil
	}
	s.degrade(err)
	return s.unnamed()
}

// namedPrivateFile makes a private partial file beside a shared one. Where locks can't be had, its
// name is that of a temporary file, so that nobody takes it for one that was left
// before it is old. It is errRenamed if sweeps of other processes took the file again and again.
func (s *Store) namedPrivateFile(shared string) (*partial, error) {
	pattern := filepath.Base(shared) + ".*"
	if s.noLocks.Load() != nil {
		pattern = unlockedPrefix + "*"
	}
	for range privateTries {
		var f *os.File
		err := s.retry(s.partials(), func() (err error) {
			f, err = os.CreateTemp(s.partials(), pattern)
			return err
		})
		if err != nil {
			return nil, noSpace(err)
		}
		// The lock tells who evicts and sweeps that someone writes the file. Until it is had, a
		// sweep may take the file for one that was left.
		name := filepath.Base(f.Name())
		if !errors.Is(tryLock(f), syscall.EWOULDBLOCK) && named(f, f.Name()) {
			s.ledger.takeUp(name)
			step("partial made beside")
			return &partial{f: f, path: f.Name(), name: name, private: true}, nil
		}
		_ = os.Remove(f.Name())
		f.Close()
	}
	return nil, errRenamed
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

// discard takes away the names of a partial file, unless another file has them by now.
// Where that changes between the look and the removal, the other loses its name: it is
// served all the same, and not kept.
func (p *partial) discard() {
	for _, path := range []string{p.path, p.shared} {
		if path != "" && named(p.f, path) {
			_ = os.Remove(path)
		}
	}
}

// abandon gives a partial file up. The bytes of a shared one stay for the next download, and
// are counted, unless they are of no use.
func (s *Store) abandon(p *partial, useless bool) {
	if p.path == "" {
		p.f.Close()
		return
	}
	st, err := p.f.Stat()
	if useless || p.private || err != nil || st.Size() == 0 {
		p.discard() // under the lock
		s.ledger.dropped(p.name)
		p.f.Close()
		return
	}
	s.ledger.leave(p.name, allocated(st)) // before another may take it up
	p.f.Close()
	s.evict(0)
}
