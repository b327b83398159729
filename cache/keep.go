package cache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// errRenamed is of a partial file whose name is gone, or another file's: somebody removed
// the directory, or the file, under the download.
var errRenamed = errors.New("its file was removed meanwhile")

// keep moves a partial file, whose bytes are verified and read already, to its place, and ends
// the reservation that was made for it.
// What can't be kept is served while it is open.
func (s *Store) keep(room *reservation, p *partial, f *shared) {
	bytes := inBlocks(f.size)
	if p.path == "" {
		if s.sameDisk(p.f) {
			s.ledger.unnamed(f.digest, bytes)
		}
		return
	}
	defer unlock(p.f)
	kept := s.place(p, f)
	if kept {
		step("renamed")
		p.path = ""
	}
	p.discard()
	s.ledger.dropped(p.name)
	if !kept {
		s.ledger.unnamed(f.digest, bytes)
		step("not kept")
		return
	}
	step("kept")
	s.trouble.over()
	s.checker.endDoubt(f.digest)
	s.ledger.settle(room, f.digest, bytes)
	s.brought(bytes)
}

// place gives a verified file its blob's name, and says whether it has it.
//
// The bytes are synced before they have the name, although a sentinel puts in doubt what was written
// before an unclean end. The sentinel isn't synced, and Close removes it. A file system that keeps no
// order between its writes (ext4 without a journal, or with data=writeback) may show a file of the
// right size with other bytes after a power cut, and no sentinel. Without the sync an image of 1 GiB
// takes 4 percent less of the process's CPU time.
func (s *Store) place(p *partial, f *shared) bool {
	if f.size > s.limit() || s.spoiled(f.digest) {
		return false
	}
	if err := p.f.Sync(); err != nil { // what it didn't take may be gone
		err = noSpace(err)
		f.lost.Store(&err)
		s.degrade(err)
		return false
	}
	step("synced")
	to := s.blob(f.digest)
	if p.private && s.placed(f.digest, f.size) { // another was first: its readers keep their file
		return false
	}
	err := s.makePrivate(p)
	if err == nil {
		err = s.withRoom(1, func() error { // for the directory
			return noSpace(s.retry(filepath.Dir(to), func() error { return os.Rename(p.path, to) }))
		})
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, errRenamed) || !named(p.f, p.path):
		s.log.Warn("a blob isn't kept, as its file was removed meanwhile", "digest", f.digest)
	default:
		s.degrade(err)
	}
	return false
}

// makePrivate gives a shared partial file a name that nobody else looks for.
//
// A rename moves what has a name, and no system call makes sure that it is the open file:
// looking first is too early, and looking afterwards is too late where the new name is a
// blob's. (A link from the descriptor isn't one on macOS, and fails on Linux for a file
// without a name.) So a random name comes in between. What has it is nobody else's to
// change, and is looked at.
//
// The random name is a second one, so that those who wait for the download go on finding
// its lock. Where the file system has no links, the file is renamed: who looks for it in
// that moment fetches the blob too, and another's file that was renamed is given back.
func (s *Store) makePrivate(p *partial) error {
	if p.private {
		return nil
	}
	if !named(p.f, p.path) {
		return errRenamed
	}
	step("name checked")
	tmp := filepath.Join(s.partials(), temporaryPrefix+rand.Text())
	if os.Link(p.path, tmp) == nil {
		if !named(p.f, tmp) {
			_ = os.Remove(tmp)
			return errRenamed
		}
		p.path, p.private, p.shared = tmp, true, p.path
		step("made private")
		return nil
	}
	if err := os.Rename(p.path, tmp); err != nil {
		return fmt.Errorf("keep a blob: %w", err)
	}
	if !named(p.f, tmp) {
		if err := os.Rename(tmp, p.path); err != nil {
			_ = os.Remove(tmp)
		}
		return errRenamed
	}
	p.path, p.private = tmp, true
	return nil
}
