package upload

import (
	"os"
	"path/filepath"
	"strconv"
)

// adoptName is where files wait for the cache to take them over, under names that
// nobody else can have.
const adoptName = "adopt"

// adopt gives the bytes of a blob that was pushed to the cache, once nobody can
// write them, and lets the file stand for the blob from then on. Syncing them takes
// its time, so this is done behind whoever pushed.
func (r *Root) adopt(f *File) {
	leave, err := r.area.enter()
	if err != nil {
		return
	}
	private, err := r.setAside(f)
	if err != nil || private == "" {
		leave()
		return
	}
	go func() {
		defer leave()
		f.mu.Lock()
		d, size := f.digest, f.size
		f.mu.Unlock()
		if err := r.area.o.Tree.Adopt(d, size, private); err != nil {
			r.area.log.Debug("what was pushed isn't kept in the cache", "digest", d, "cause", err)
			_ = os.Remove(private) // the registry has it
		}
		f.mu.Lock()
		f.content = Blob{r.repo, d, size}
		f.sum, f.front = nil, 0
		close(f.adopting)
		f.adopting = nil
		// The cache's by now: who reads it goes on, and nobody writes it.
		f.retired, f.disk = append(f.retired, f.disk), nil
		f.mu.Unlock()
		f.letGo()
	}()
}

// setAside moves the bytes of f to where nobody else looks for them; "" where they
// aren't the cache's to take.
func (r *Root) setAside(f *File) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.pushed || f.manifest || f.writers > 0 || f.adopting != nil || f.parent == nil || f.content.Digest != "" || f.digest == "" || f.size == 0 {
		return "", nil
	}
	path := f.path()
	private := filepath.Join(r.area.dir, adoptName, strconv.FormatUint(r.area.adopted.Add(1), 10))
	if err := os.MkdirAll(filepath.Dir(private), 0o700); err != nil {
		return "", err
	}
	if f.disk == nil { // for those who read it meanwhile
		disk, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return "", err
		}
		f.disk = disk
	}
	f.refs++
	if err := os.Rename(path, private); err != nil {
		f.letGoLocked()
		return "", err
	}
	f.adopting = make(chan struct{})
	_ = r.area.reserve(-f.size) // it was pushed: syncing it takes nobody's room
	return private, nil
}

// clear removes from the disk what was pushed, as the mount has ended and nobody can
// see it any more.
func (r *Root) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.begun {
		r.top.clear()
	}
}

// clear is Root's, of a directory. Root.mu is held.
func (d *Dir) clear() {
	for _, n := range d.children {
		switch n := n.(type) {
		case *Dir:
			n.clear()
		case *File:
			n.mu.Lock()
			pushed := n.pushed
			n.mu.Unlock()
			if pushed && roleAt(d, n.name).kind != index {
				_ = os.Remove(n.path()) // else it is found to be left
			}
		}
	}
}
