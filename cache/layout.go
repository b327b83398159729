package cache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"
)

const (
	tagName = "CACHEDIR.TAG"
	tagText = "Signature: 8a477f597d28d172789f06886806bc55\n# ocifs keeps blobs of registries here. It can be removed while no ocifs runs.\n"
	version = "v1"

	// temporaryPrefix begins the names of files in partial/ that have one writer and get
	// another name when they are whole. Where locks can't be had they are swept by their age.
	temporaryPrefix = "tmp-"
	// unlockedPrefix begins the names of those that downloads write where locks can't be had.
	// Nobody can tell whether one is under way or was left by a crash.
	unlockedPrefix = temporaryPrefix + "blob-"
)

// layout is where things are in a cache directory.
type layout struct{ dir string }

func (l layout) blobs() string      { return filepath.Join(l.dir, version, "blobs") }
func (l layout) partials() string   { return filepath.Join(l.dir, version, "partial") }
func (l layout) pointers() string   { return filepath.Join(l.dir, version, "pointers") }
func (l layout) indexes() string    { return filepath.Join(l.dir, version, "indexes") }
func (l layout) alive() string      { return filepath.Join(l.dir, version, "alive") }
func (l layout) quarantine() string { return filepath.Join(l.dir, version, "quarantine") }

// Staging is a directory beside the blobs, on their disk, for what isn't one yet: a
// file from there can be adopted. The store itself doesn't look into it.
func (l layout) Staging() string { return filepath.Join(l.dir, version, "staging") }

func (l layout) blob(d digest.Digest) string {
	hex := d.Encoded()
	return filepath.Join(l.blobs(), d.Algorithm().String(), hex[:2], hex)
}

func (l layout) partial(d digest.Digest) string {
	return filepath.Join(l.partials(), d.Algorithm().String()+"-"+d.Encoded())
}

// madeSuffix ends the name of the partial file of a making. The part before it is that of the
// blob that is made from.
const madeSuffix = ".made"

// madePartial is the partial file of what is made of a blob.
func (l layout) madePartial(of digest.Digest) string { return l.partial(of) + madeSuffix }

// open makes the directory what it has to be, or says why it can't be one.
func (l layout) open() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return fmt.Errorf("cache directory: %w", noSpace(err))
	}
	if err := l.foreign(); err != nil {
		return err
	}
	if err := os.Chmod(l.dir, 0o700); err != nil {
		return fmt.Errorf("cache directory: %w", err)
	}
	if err := l.make(); err != nil {
		return err
	}
	if err := l.tag(); err != nil && !errors.Is(err, ErrNoSpace) { // the store tags it when there is space
		return fmt.Errorf("cache directory: %w", err)
	}
	return nil
}

// tag makes CACHEDIR.TAG what it has to be. A full disk never leaves one that is cut off.
func (l layout) tag() error {
	path := filepath.Join(l.dir, tagName)
	if b, err := os.ReadFile(path); err == nil && string(b) == tagText {
		return nil
	}
	return l.replace(path, []byte(tagText), nil)
}

// replace writes a file in one step: under a temporary name, from which it is renamed to path.
// ready gets the file when it is written, before it has its name; nil: nothing is to be done then.
// The file isn't synced, unless ready does that. It is closed before the rename, as NFS tells some
// write errors at the close alone.
func (l layout) replace(path string, b []byte, ready func(*os.File) error) error {
	return l.replaceWith(path, func(f *os.File) error {
		_, err := f.Write(b)
		step("temporary written")
		if err == nil && ready != nil {
			err = ready(f)
		}
		return err
	})
}

// replaceWith is replace for what write writes.
func (l layout) replaceWith(path string, write func(*os.File) error) error {
	var f *os.File
	err := l.retry(l.partials(), func() (err error) {
		f, err = os.CreateTemp(l.partials(), temporaryPrefix+"*")
		return err
	})
	if err != nil {
		return noSpace(err)
	}
	step("temporary made")
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = l.retry(filepath.Dir(path), func() error { return os.Rename(f.Name(), path) })
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return noSpace(err)
	}
	step("temporary renamed")
	return nil
}

// ofTheDisk are directories that the system itself makes at the root of a disk: ext4's fsck
// keeps what it finds in lost+found, and macOS has the others.
var ofTheDisk = []string{"lost+found", ".fseventsd", ".Spotlight-V100", ".Trashes"}

// foreign says what keeps the directory from being a cache: that it can't be read, or
// that it holds something else.
func (l layout) foreign() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("cache directory: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() && slices.Contains(ofTheDisk, e.Name()) {
			continue
		}
		if n := e.Name(); n != tagName && n != version {
			return fmt.Errorf("%s holds %q, so it is no cache of this version of ocifs; it was left as it is: choose another directory, or empty this one", l.dir, n)
		}
	}
	return nil
}

// make makes the directories that every operation needs. They may vanish under
// a running daemon, and are made again then.
func (l layout) make() error {
	for _, d := range []string{l.blobs(), l.partials(), l.pointers()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return fmt.Errorf("cache directory: %w", noSpace(err))
		}
	}
	return nil
}

// retry runs f, and once more with the directories made again where they had
// vanished.
func (l layout) retry(dir string, f func() error) error {
	err := f()
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		err = f()
	}
	return err
}
