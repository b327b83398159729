package main

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/integration/internal/mount"
)

// damages is how many files are damaged at a time.
const damages = 3

// damage damages the cache while the daemon is dead: a byte of what is left of a
// download is another one, and blobs have lost their end. The first is found by the
// digest of the whole, the others by the size.
func (k *keeper) damage(pick int) {
	partials, err := mount.Partials(k.o.Cache)
	if err != nil {
		k.report.Errorf("%v", err)
	}
	blobs, err := filepath.Glob(filepath.Join(k.o.Cache, "v1/blobs/sha256/*/*"))
	if err != nil {
		k.report.Errorf("%v", err)
	}
	// Those that the daemon wrote are hashed again after its unclean end.
	var recent []string
	for _, b := range blobs {
		if st, err := os.Stat(b); err == nil && st.ModTime().After(k.since) {
			recent = append(recent, b)
		}
	}
	for i := range damages {
		var what string
		switch n := pick%1000 + i; {
		case i == 0 && len(partials) > 0:
			what, err = flip(partials[n%len(partials)])
		case i == 1 && len(recent) > 0:
			what, err = flipBlob(recent[n%len(recent)])
		case len(blobs) > 0:
			what, err = shorten(blobs[n*len(blobs)/damages%len(blobs)])
		}
		if err != nil {
			k.report.Errorf("damaging the cache: %v", err)
		}
		if what != "" {
			k.report.Logf("damaged: %s", what)
			k.mu.Lock()
			k.figures.damaged = append(k.figures.damaged, what)
			k.mu.Unlock()
		}
	}
}

// flip changes a byte in the middle of a partial file that nobody has locked.
func flip(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", nil // gone: a daemon that leaves has finished it
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 || unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return "", err // nothing to damage, or in use by a daemon that leaves
	}
	b, at := []byte{0}, st.Size()/2
	if _, err := f.ReadAt(b, at); err != nil {
		return "", err
	}
	b[0] ^= 1
	_, err = f.WriteAt(b, at)
	return fmt.Sprintf("byte %d of %d of %s", at, st.Size(), filepath.Base(path)), err
}

// flipBlob puts a file with another byte in the place of a blob, as shorten does.
func flipBlob(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return "", nil // a daemon that leaves has evicted it
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path+".flip", b, 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("byte %d of the %d of blob %s", len(b)/2, len(b), filepath.Base(path)), os.Rename(path+".flip", path)
}

// shorten puts a shorter file in the place of a blob. Those who have the blob open keep
// it: to the kernel, which may read it for them, nothing is done.
func shorten(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return "", nil // a daemon that leaves has evicted it
	}
	if err := os.WriteFile(path+".short", b[:len(b)-1], 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf("the last of %d bytes of %s", len(b), filepath.Base(path)), os.Rename(path+".short", path)
}
