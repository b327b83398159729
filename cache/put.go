package cache

import (
	"fmt"

	"github.com/opencontainers/go-digest"
)

// maxPuts is how many blobs of Put wait for the disk at most. Each of them has an open file.
const maxPuts = 64

// Put keeps b, which must have the digest d. It is for what is small; larger things come by Get.
//
// The blob can be opened when Put returns. A goroutine syncs it and gives it its name. A file
// system that writes its data before its journal (ext4) makes the sync of a small file wait for the
// bytes of all large ones. Only who finds maxPuts blobs waiting for the disk waits too.
func (s *Store) Put(d digest.Digest, b []byte) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	if got := d.Algorithm().FromBytes(b); got != d {
		return fmt.Errorf("%w: %d bytes of %s are %s", ErrMismatch, len(b), d, got)
	}
	size := int64(len(b))
	if s.has(d, size) || size > s.limit() || s.spoiled(d) {
		return nil
	}
	if f := s.arrived(d, size); f != nil {
		return f.Close()
	}
	leave, err := s.enterPuts()
	if err != nil {
		return err
	}
	settling := false
	defer func() {
		if !settling {
			leave()
		}
	}()
	j, p, err := s.written(d, b)
	if err != nil {
		return err
	}
	settling = true
	go func() {
		defer leave()
		s.settleJob(j, p, j.file)
	}()
	return nil
}

// enterPuts waits until less than maxPuts blobs wait for the disk. Close waits for leave.
func (s *Store) enterPuts() (leave func(), err error) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.work.Add(1)
	}
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	s.putting <- struct{}{}
	return func() {
		<-s.putting
		s.work.Done()
	}, nil
}

// written writes b to a private partial file. It gives that file, and a job that has succeeded:
// the blob only waits for its place.
func (s *Store) written(d digest.Digest, b []byte) (*job, *partial, error) {
	j := &job{over: true}
	s.reserve(&j.room, inBlocks(int64(len(b))))
	f, p, err := s.inPartial(d, b)
	if err != nil {
		s.ledger.release(&j.room)
		return nil, nil, err
	}
	j.file = f
	j.forget = func() {
		if s.puts[d] == j {
			delete(s.puts, d)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.puts[d] = j
	return j, p, nil
}

// inPartial writes b to a private partial file, and gives it as a blob too.
func (s *Store) inPartial(d digest.Digest, b []byte) (*shared, *partial, error) {
	p, err := s.privateFile(s.partial(d))
	if err != nil {
		return nil, nil, err
	}
	if p.path == "" { // a file without a name is kept nowhere
		p.f.Close()
		return nil, nil, fmt.Errorf("keep %s: the cache directory can't be written", d)
	}
	err = s.write(p.f, b, 0)
	st, serr := p.f.Stat()
	if err == nil {
		err = serr
	}
	if err != nil {
		s.abandon(p, true)
		return nil, nil, err
	}
	s.ledger.pin(d) // before it has its name: eviction mustn't come between
	return &shared{store: s, f: p.f, digest: d, size: int64(len(b)), inode: inode(st), refs: 1}, p, nil
}
