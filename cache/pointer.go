package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// Pointer is what a name was last seen to point at.
type Pointer struct {
	Digest  digest.Digest
	Checked time.Time // when that was so
	// Modified is when the name began to point there, as its keeper knows; zero: not known.
	Modified time.Time
	Told     string // whom it was told, for those who tell accounts apart
}

// maxPointer is the largest pointer file that is read.
const maxPointer = 4096

// pointerFile is a Pointer on disk. The key stands in it, as its name is a hash.
type pointerFile struct {
	Key      string        `json:"key"`
	Digest   digest.Digest `json:"digest"`
	Checked  time.Time     `json:"checked"`
	Modified time.Time     `json:"modified,omitzero"`
	Told     string        `json:"told,omitempty"`
}

// pointerName is the sha256 of a pointer's key. The first byte names its directory.
type pointerName [sha256.Size]byte

// pointerDirs is how many directories pointers are in: the values of a byte.
const pointerDirs = 256

func nameOfPointer(key string) pointerName { return sha256.Sum256([]byte(key)) }

func (l layout) pointerPath(n pointerName) string {
	return filepath.Join(l.pointerDir(n[0]), hex.EncodeToString(n[:]))
}

func (l layout) pointerDir(dir byte) string {
	return filepath.Join(l.pointers(), hex.EncodeToString([]byte{dir}))
}

func (l layout) pointer(key string) string { return l.pointerPath(nameOfPointer(key)) }

// pointersIn lists the files of pointers in a directory. One that can't be read has none.
func (l layout) pointersIn(dir byte) []fs.FileInfo {
	return slices.DeleteFunc(regular(l.pointerDir(dir)), func(st fs.FileInfo) bool {
		n, err := hex.DecodeString(st.Name())
		return err != nil || len(n) != sha256.Size || n[0] != dir
	})
}

// walkPointers lists the files of pointers.
func (l layout) walkPointers(ctx context.Context, each func(path string, st fs.FileInfo)) error {
	for dir := range pointerDirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, st := range l.pointersIn(byte(dir)) {
			each(filepath.Join(l.pointerDir(byte(dir)), st.Name()), st)
		}
	}
	return ctx.Err()
}

// Remember keeps a pointer under a key. It isn't synced: what a crash takes is
// asked for again.
func (s *Store) Remember(key string, p Pointer) error {
	b, err := json.Marshal(pointerFile{key, p.Digest, p.Checked, p.Modified, p.Told})
	if err != nil {
		return fmt.Errorf("remember %q: %w", key, err)
	}
	name := nameOfPointer(key)
	var more int64 // bytes
	err = s.withRoom(int64(len(b)), func() (err error) {
		more, err = s.writePointer(name, b)
		return err
	})
	if err != nil || more <= 0 {
		return err
	}
	limit := s.limit()
	if s.ledger.sums().pointers > limit/besidesShare {
		s.evicting.Lock()
		s.trimPointers(limit)
		s.evicting.Unlock()
	}
	s.evict(0)
	return nil
}

// writePointer writes a pointer's file. It tells how many bytes more its pointers take now.
func (s *Store) writePointer(name pointerName, b []byte) (more int64, err error) {
	naming := &s.naming[name[0]]
	naming.Lock()
	defer naming.Unlock()
	path := s.pointerPath(name)
	more = inBlocks(int64(len(b)))
	if was, err := os.Lstat(path); err == nil {
		more -= inBlocks(was.Size())
	}
	step("pointer looked for")
	if err := s.replace(path, b, nil); err != nil {
		return 0, err
	}
	if more != 0 {
		s.ledger.addPointer(name[0], more)
	}
	return more, nil
}

// removePointer removes a pointer's file, unless another took its place since it was seen. Nil
// stands for whichever there is.
func (s *Store) removePointer(dir byte, path string, seen fs.FileInfo) {
	naming := &s.naming[dir]
	naming.Lock()
	defer naming.Unlock()
	st, err := os.Lstat(path)
	if err != nil || seen != nil && !os.SameFile(seen, st) {
		return
	}
	if os.Remove(path) == nil {
		s.ledger.addPointer(dir, -allocated(st))
	} // else it is found to be wrong by whoever asks
}

// trimPointers removes the pointers that weren't remembered for longest, where they take more
// than their share of limit. A pointer is what lets an image be read while its registry is out
// of reach: blobs go before, but within that share. evicting is held.
func (s *Store) trimPointers(limit int64) {
	share := limit / besidesShare
	if s.ledger.sums().pointers <= share {
		return
	}
	type file struct {
		dir byte
		st  fs.FileInfo
	}
	var all []file
	s.countPointers(func(dir byte, st fs.FileInfo) { all = append(all, file{dir, st}) })
	slices.SortFunc(all, func(a, b file) int { return a.st.ModTime().Compare(b.st.ModTime()) })
	goal := share - share/100*(100-lowWatermark)
	for _, f := range all {
		if s.ledger.sums().pointers <= goal {
			return
		}
		s.removePointer(f.dir, filepath.Join(s.pointerDir(f.dir), f.st.Name()), f.st)
	}
}

// countTries is how often a directory of pointers is listed, until none comes or goes while it is.
// Measured: with its part of the 320,000 of the default bound that takes 4 to 9 ms, so that two
// in a row meet a change only where some hundred pointers a second come to one directory of 256.
const countTries = 3

// countPointers counts what the pointers take, and gives each. Where pointers come and go faster
// than they are listed, what this process does with them counts, and the next count is asked for
// what others do.
func (s *Store) countPointers(each func(dir byte, st fs.FileInfo)) {
	for i := range pointerDirs {
		dir := byte(i)
		var files []fs.FileInfo
		for range countTries {
			if s.ctx.Err() != nil {
				return
			}
			mark := s.ledger.pointerMark(dir)
			files = s.pointersIn(dir)
			step("pointers listed")
			var bytes int64
			for _, st := range files {
				bytes += allocated(st)
			}
			if s.ledger.countedPointers(dir, bytes, mark) {
				break
			}
		}
		for _, st := range files {
			each(dir, st)
		}
	}
}

// Recall gives what Remember kept. A pointer that can't be read is none.
func (s *Store) Recall(key string) (Pointer, bool) {
	f, err := os.Open(s.pointer(key))
	if err != nil {
		return Pointer{}, false
	}
	defer f.Close()
	b := make([]byte, maxPointer)
	n, _ := f.Read(b) // an error leaves nothing to parse
	return parsePointer(b[:n], key)
}

func parsePointer(b []byte, key string) (Pointer, bool) {
	var p pointerFile
	if json.Unmarshal(b, &p) != nil || p.Key != key || p.Digest.Validate() != nil {
		return Pointer{}, false
	}
	return Pointer{p.Digest, p.Checked, p.Modified, p.Told}, true
}

// pointsTo gives the digest in the file of any pointer.
func pointsTo(b []byte) (digest.Digest, bool) {
	var p pointerFile
	if json.Unmarshal(b, &p) != nil || p.Digest.Validate() != nil {
		return "", false
	}
	return p.Digest, true
}

// Forget drops what Remember kept.
func (s *Store) Forget(key string) {
	name := nameOfPointer(key)
	s.removePointer(name[0], s.pointerPath(name), nil)
}
