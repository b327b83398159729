package upload

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/go-digest"
)

// adoptName is where files wait for the cache to take them over, under names that
// nobody else can have.
const adoptName = "adopt"

// aside is a file whose bytes wait for the cache: nobody else looks for them there.
type aside struct {
	f      *File
	path   string // where they are
	digest digest.Digest
	size   int64 // in bytes
}

// adopt gives the bytes of a blob that was pushed to the cache, once nobody can
// write them, and lets the file stand for the blob from then on. Syncing them takes
// its time, so this is done behind whoever pushed.
func (r *Root) adopt(f *File) {
	a := r.area
	leave, err := a.enter()
	if err != nil {
		return
	}
	handedOver := false
	defer func() {
		if !handedOver {
			leave()
		}
	}()
	s, busy := r.setAsideNow(f)
	if s == nil && !busy {
		return
	}
	handedOver = true
	go func() {
		defer leave()
		a.caught(func() {
			if busy {
				s = r.setAsideInTurn(a.ctx, f)
			}
			if s != nil {
				r.giveAway(s)
			}
		})
	}()
}

// setAsideNow sets the bytes of f aside; nil: they aren't the cache's to take. busy says that
// a turn which that needs is taken. The writing turn stays taken where there is an aside.
func (r *Root) setAsideNow(f *File) (s *aside, busy bool) {
	if !f.writing.try() {
		return nil, true
	}
	defer func() {
		if s == nil {
			f.writing.give()
		}
	}()
	if !r.shape.try() {
		return nil, true
	}
	defer r.shape.give()
	return r.setAside(f), false
}

// setAsideInTurn is setAsideNow, which waits for the turns.
func (r *Root) setAsideInTurn(ctx context.Context, f *File) (s *aside) {
	if r.area.take(ctx, &f.writing) != nil {
		return nil
	}
	defer func() {
		if s == nil {
			f.writing.give()
		}
	}()
	if r.area.take(ctx, &r.shape) != nil {
		return nil
	}
	defer r.shape.give()
	return r.setAside(f)
}

// setAside moves the bytes of f to where nobody else looks for them; nil where they
// aren't the cache's to take. The writing turn and the shape's are held.
func (r *Root) setAside(f *File) *aside {
	from, s := r.adoptable(f)
	if s == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(s.path), 0o700); err != nil {
		return nil
	}
	disk, err := os.OpenFile(from, os.O_RDWR, 0) // for those who read it meanwhile
	if err != nil {
		return nil
	}
	if err := os.Rename(from, s.path); err != nil {
		disk.Close()
		return nil
	}
	f.keepOpen(disk)
	f.share.release() // it was pushed: syncing it takes nobody's room
	return s
}

// adoptable gives the place of a file whose bytes are the cache's to take, and where to; nil:
// they aren't.
func (r *Root) adoptable(f *File) (from string, s *aside) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.pushed || f.manifest || f.writers > 0 || f.parent == nil || f.isBorrowed() || f.digest == "" || f.size == 0 {
		return "", nil
	}
	to := filepath.Join(r.area.path(), adoptName, strconv.FormatUint(r.area.adopted.Add(1), 10))
	return f.path(), &aside{f, to, f.digest, f.size}
}

// keepOpen has a use of the file keep it open on the disk, until letGo is called.
func (f *File) keepOpen(disk *os.File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refs++
	if f.disk != nil {
		f.retired = append(f.retired, disk)
		return
	}
	f.disk = disk
}

// giveAway has the cache take over what was set aside, and gives the writing turn back.
func (r *Root) giveAway(s *aside) {
	a := r.area
	defer s.f.writing.give()
	defer s.f.letGo()
	err := a.catch(func() error { return a.o.Tree.Adopt(s.digest, s.size, s.path) })
	if err != nil {
		a.log.Debug("what was pushed isn't kept in the cache", "digest", s.digest, "cause", err)
		_ = os.Remove(s.path) // the registry has it
	}
	s.f.standFor(Blob{r.repo, s.digest, s.size})
}

// standFor has the file stand for a blob. Its bytes are the cache's by now: who reads them goes
// on, and nobody writes them.
func (f *File) standFor(b Blob) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content = b
	f.sum, f.front = nil, 0
	f.retired, f.disk = append(f.retired, f.disk), nil
}

// removePushed removes from the disk what was pushed, as the mount has ended and nobody can
// see it any more.
func (r *Root) removePushed() {
	for _, path := range r.pushedPaths() {
		_ = os.Remove(path) // else it is found to be left
	}
}

// pushedPaths gives where files are on the disk that were pushed.
func (r *Root) pushedPaths() (paths []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.top.pushedPaths(nil)
}

// pushedPaths adds the paths below a directory. Root.mu is held.
func (d *Dir) pushedPaths(paths []string) []string {
	for _, n := range d.children {
		switch n := n.(type) {
		case *Dir:
			paths = n.pushedPaths(paths)
		case *File:
			if n.isPushed() && roleAt(d, n.name).kind != index {
				paths = append(paths, n.path())
			}
		}
	}
	return paths
}

// isPushed says whether the registry has the bytes.
func (f *File) isPushed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pushed
}
