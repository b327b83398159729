package upload

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/go-digest"
)

// adoptName is the directory for files that the cache is about to take over. Their names there
// are unique.
const adoptName = "adopt"

// aside is a file whose bytes were moved to adoptName, where nobody else opens them.
type aside struct {
	f      *File
	path   string // where they are
	digest digest.Digest
	size   int64 // in bytes
}

// adopt gives the bytes of a pushed blob to the cache, if nobody can write them any more. The
// file then stands for the blob. The cache may have to make room for the bytes first, and waits for
// the disk if many others wait for it, so a goroutine does this while the caller goes on.
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

// setAsideNow sets the bytes of f aside without waiting. nil means that it didn't: busy then says
// whether a turn that it needs is taken. If it gives an aside, the caller holds the writing turn.
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

// setAsideInTurn sets the bytes of f aside, and waits for the turns that it needs until ctx or
// the area ends. If it gives an aside, the caller holds the writing turn.
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

// setAside moves the bytes of f to adoptName. It gives nil if the cache can't take them over. The
// writing turn and the shape turn are held.
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
	f.share.release() // the blob is pushed, and needs no staging room
	return s
}

// adoptable says whether the cache can take over the bytes of a file. It gives the path of the
// bytes and where they go; nil: the cache can't.
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

// keepOpen keeps a file open on the disk until letGo is called.
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

// giveAway gives bytes that were set aside to the cache, and gives the writing turn back.
func (r *Root) giveAway(s *aside) {
	a := r.area
	defer s.f.writing.give()
	defer s.f.letGo()
	err := a.catch(func() error { return a.o.Tree.Adopt(s.digest, s.size, s.path) })
	if err != nil {
		a.log.Debug("what was pushed isn't kept in the cache", "digest", s.digest, "cause", err)
		_ = os.Remove(s.path) // the registry has the bytes
	}
	s.f.standFor(Blob{r.repo, s.digest, s.size})
}

// standFor makes the file stand for a blob, because the cache has its bytes now. Present readers
// go on reading the old file, and nobody writes to it.
func (f *File) standFor(b Blob) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.content = b
	f.sum, f.front = nil, 0
	f.retire()
}

// removeUnneeded removes files from the disk: those that were pushed, and those of which a write
// failed, as nobody can use their bytes. The mount has ended, so that nobody sees them any more.
func (r *Root) removeUnneeded() {
	for _, path := range r.unneededPaths() {
		_ = os.Remove(path) // if it fails, the next mount finds it
	}
}

// unneededPaths gives the paths of the files that removeUnneeded removes.
func (r *Root) unneededPaths() (paths []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.top.unneededPaths(nil)
}

// unneededPaths adds the paths of such files below a directory. Root.mu is held.
func (d *Dir) unneededPaths(paths []string) []string {
	for _, n := range d.children {
		switch n := n.(type) {
		case *Dir:
			paths = n.unneededPaths(paths)
		case *File:
			if n.isUnneeded() && roleAt(d, n.name).kind != index {
				paths = append(paths, n.path())
			}
		}
	}
	return paths
}

// isUnneeded says whether the registry has the bytes, or a write of them failed.
func (f *File) isUnneeded() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pushed || f.broken != nil
}
