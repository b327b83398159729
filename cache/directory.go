package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
)

// Directory is a cache directory seen from outside, whoever has it open: what a person
// looks at and cleans. It is no Store: it makes nothing, evicts nothing by itself, and
// what it reads doesn't count as used.
//
// All its methods are safe while stores of this and of other processes have the directory
// open, download into it and evict from it. What is removed is unlinked, never truncated,
// so that whoever has it open reads on; what goes meanwhile is no error; and what isn't
// known to be the cache's is left as it is.
type Directory struct{ layout }

// At gives the cache in dir. Where there is none that is fs.ErrNotExist, and nothing is
// made. A directory that holds anything else is refused, as Open does.
func At(dir string) (*Directory, error) {
	l := layout{dir}
	if err := l.foreign(); err != nil {
		return nil, err
	}
	st, err := os.Stat(filepath.Join(dir, version))
	if err == nil && !st.IsDir() {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	return &Directory{l}, nil
}

// Held is a number of files, and the bytes of the disk that they take: whole blocks.
type Held struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (h *Held) add(size int64) {
	h.Files++
	h.Bytes += size
}

// Survey is what a cache directory holds at a moment.
type Survey struct {
	Dir         string    `json:"dir"`
	Blobs       Held      `json:"blobs"`
	OldestUse   time.Time `json:"oldest_use,omitzero"` // of the blobs; zero where there is none
	NewestUse   time.Time `json:"newest_use,omitzero"`
	Downloads   Held      `json:"downloads"` // under way; what they have so far
	Left        Held      `json:"left"`      // by downloads that ended, to be continued
	Temporary   Held      `json:"temporary"` // files that get their names when they are whole
	Pointers    Held      `json:"pointers"`
	Indexes     Held      `json:"indexes"` // of blobs that are cached or were
	Quarantined Held      `json:"quarantined"`
	Users       []User    `json:"users"`       // processes that have it open, as far as locks tell
	Unclean     int       `json:"unclean"`     // processes that were killed, and whose blobs weren't hashed again yet
	Bound       int64     `json:"bound_bytes"` // 0: what is kept can't be read
	Free        int64     `json:"free_bytes"`  // of the disk
	Disk        int64     `json:"disk_bytes"`
}

// Survey looks through the directory. It reads no blob.
func (c *Directory) Survey(ctx context.Context) (Survey, error) {
	s := Survey{Dir: c.dir}
	err := c.walkBlobs(ctx, func(b blobEntry) error {
		s.Blobs.add(b.bytes)
		if s.OldestUse.IsZero() || b.used.Before(s.OldestUse) {
			s.OldestUse = b.used.UTC()
		}
		if b.used.After(s.NewestUse) {
			s.NewestUse = b.used.UTC()
		}
		return nil
	})
	if err == nil {
		err = c.walkPointers(ctx, func(_ string, st fs.FileInfo) { s.Pointers.add(allocated(st)) })
	}
	if err == nil {
		err = c.walkIndexes(ctx, func(x blobEntry) error { s.Indexes.add(x.bytes); return nil })
	}
	if err != nil {
		return Survey{}, fmt.Errorf("survey of %s: %w", c.dir, err)
	}
	for _, u := range c.unfinished() {
		switch size := allocated(u.info); u.kind {
		case isTemporary:
			s.Temporary.add(size)
		case isLeft:
			s.Left.add(size)
		case isUnderWay:
			s.Downloads.add(size)
		}
	}
	for _, st := range regular(c.quarantine()) {
		s.Quarantined.add(allocated(st))
	}
	s.Users, s.Unclean = c.users()
	s.Bound, _ = c.Bound()
	if s.Free, s.Disk, err = diskSpace(c.dir); err != nil {
		return Survey{}, fmt.Errorf("survey of %s: %w", c.dir, err)
	}
	return s, nil
}

// regular gives the regular files in a directory. One that can't be read has none.
func regular(dir string) (files []fs.FileInfo) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
			files = append(files, st)
		}
	}
	return files
}

// unfinished is a file in partial/, and what it is.
type unfinished struct {
	path string
	info fs.FileInfo
	kind unfinishedKind
}

type unfinishedKind int

const (
	isForeign   unfinishedKind = iota // none of ours
	isTemporary                       // written in a moment, and then renamed
	isUnderWay                        // a download has it locked
	isLeft                            // no download has
)

// unfinished lists what is in partial/.
func (l layout) unfinished() (files []unfinished) {
	for _, st := range regular(l.partials()) {
		path := filepath.Join(l.partials(), st.Name())
		files = append(files, unfinished{path, st, l.kindOf(path)})
	}
	return files
}

func (l layout) kindOf(path string) unfinishedKind {
	name := filepath.Base(path)
	if strings.HasPrefix(name, temporaryPrefix) {
		return isTemporary
	}
	name, _, beside := strings.Cut(name, ".")
	algorithm, hex, _ := strings.Cut(name, "-")
	if digest.NewDigestFromEncoded(digest.Algorithm(algorithm), hex).Validate() != nil {
		return isForeign
	}
	// What stands beside a partial file may belong to its download.
	if locked(path) || beside && locked(filepath.Join(l.partials(), name)) {
		return isUnderWay
	}
	return isLeft
}

// locked says whether anyone has a file locked, or may have: where locks can't be told,
// all is taken to be in use.
func locked(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	return tryLockShared(f) != nil
}
