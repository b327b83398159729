package cache

import (
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
)

// maxLater is how many blobs that were put or adopted wait for the disk at most. Each of them has an
// open file.
const maxLater = 64

// later makes a blob of the private partial file that file gives, whose bytes are right. The disk has
// the first onDisk bytes before file is called. The blob can be opened when later returns, and by
// other processes too if it is small. A goroutine syncs it and gives it its name.
//
// A file system that writes its data before its journal (ext4) makes the sync of a small file wait for
// the bytes of all large ones. If maxLater blobs wait for the disk, wait says whether later waits for
// one of them, until the store is closed, or is ErrBehind.
func (s *Store) later(d digest.Digest, size, onDisk int64, wait bool, file func() (*partial, error)) error {
	leave, err := s.enterLater(wait)
	if err != nil {
		return err
	}
	a := &arrival{room: reservation{came: func() int64 { return onDisk }}}
	settling := false
	defer func() {
		if !settling {
			s.ledger.release(&a.room)
			leave()
		}
	}()
	s.reserve(&a.room, inBlocks(size))
	p, err := file()
	if err != nil {
		return err
	}
	st, err := p.f.Stat()
	if err != nil {
		s.abandon(p, true)
		return err
	}
	s.ledger.pin(d) // before it has its name: eviction mustn't come between
	a.file = &shared{store: s, f: p.f, digest: d, size: size, inode: inode(st), refs: 1}
	if to := s.laterName(d); size <= checkAtOnce && os.Link(p.path, to) == nil {
		p.shared = to
	} // else another process shows the blob, or the file system has no links
	step("shown")
	a.waitsAt = p.path
	s.showLater(a)
	settling = true
	go func() {
		defer leave()
		s.settleArrival(a, p, a.file)
	}()
	return nil
}

// enterLater enters one more blob that waits for the disk, as later says. The caller holds no lock of
// the store. leave lets the next blob in, and Close waits for it.
func (s *Store) enterLater(wait bool) (leave func(), err error) {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.work.Add(1)
	}
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	leave = func() {
		<-s.inLater
		s.work.Done()
	}
	if wait {
		select {
		case s.inLater <- struct{}{}:
			return leave, nil
		case <-s.ctx.Done():
			s.work.Done()
			return nil, ErrClosed
		}
	}
	select {
	case s.inLater <- struct{}{}:
		return leave, nil
	default:
		s.work.Done()
		return nil, ErrBehind
	}
}

// showLater lets others open a blob that waits for its place.
func (s *Store) showLater(a *arrival) {
	d := a.file.digest
	a.forget = func() {
		if s.placing[d] == a {
			delete(s.placing, d)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.placing[d] = a
}

// nameLater gives all blobs their names that wait for the disk. It is for the end of the store: who
// closes it may give up before the disk has their bytes. The sentinel is there until then, so that they
// are in doubt, and hashed before they are read.
func (s *Store) nameLater() {
	s.mu.Lock()
	waiting := slices.Collect(maps.Values(s.placing))
	s.mu.Unlock()
	for _, a := range waiting {
		to := s.blob(a.file.digest)
		if !s.spoiled(a.file.digest) {
			_ = s.retry(filepath.Dir(to), func() error { return os.Link(a.waitsAt, to) }) // or it has one
		}
	}
}

// laterPrefix begins what laterName gives.
const laterPrefix = temporaryPrefix + "later-"

// laterName is the second name of a partial file that has all bytes of a blob, and only waits for its
// place.
func (l layout) laterName(d digest.Digest) string {
	return filepath.Join(l.partials(), laterPrefix+filepath.Base(l.partial(d)))
}

// openMoving opens a blob that had no place a moment ago. It has one now, or another process is about
// to give it one. What has its laterName is hashed: it isn't synced, and a crash may have left it. No
// lock tells that: others lock such a file too, for a look.
func (s *Store) openMoving(d digest.Digest) (*os.File, error) {
	f, err := os.Open(s.laterName(d))
	if err == nil {
		st, err := f.Stat()
		if err == nil && st.Mode().IsRegular() && st.Size() <= checkAtOnce {
			if why, err := damage(s.ctx, d, f); err == nil && why == "" {
				return f, nil
			}
		}
		f.Close()
	}
	return os.Open(s.blob(d))
}
