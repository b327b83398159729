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

func (s *Store) pointer(key string) string {
	h := sha256.Sum256([]byte(key))
	name := hex.EncodeToString(h[:])
	return filepath.Join(s.pointers(), name[:2], name)
}

// Remember keeps a pointer under a key. It isn't synced: what a crash takes is
// asked for again.
func (s *Store) Remember(key string, p Pointer) error {
	b, err := json.Marshal(pointerFile{key, p.Digest, p.Checked, p.Modified, p.Told})
	if err != nil {
		return fmt.Errorf("remember %q: %w", key, err)
	}
	path := s.pointer(key)
	_, err = os.Lstat(path)
	isNew := err != nil
	if err := s.withRoom(int64(len(b)), func() error { return s.replace(path, b, nil) }); err != nil {
		return err
	}
	if !isNew {
		return nil
	}
	if limit := s.limit(); s.ledger.addPointers(inBlocks(int64(len(b)))) > limit/besidesShare {
		s.evicting.Lock()
		s.trimPointers(limit)
		s.evicting.Unlock()
	}
	s.evict(0)
	return nil
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
		path string
		st   fs.FileInfo
	}
	var all []file
	var bytes int64
	err := s.walkPointers(s.ctx, func(path string, st fs.FileInfo) error {
		all = append(all, file{path, st})
		bytes += allocated(st)
		return nil
	})
	if err != nil {
		return // the store ends
	}
	slices.SortFunc(all, func(a, b file) int { return a.st.ModTime().Compare(b.st.ModTime()) })
	goal := share - share/100*(100-lowWatermark)
	removed := int64(0)
	for _, f := range all {
		if bytes-removed <= goal {
			break
		}
		if err := os.Remove(f.path); err == nil || gone(err) {
			removed += allocated(f.st)
		}
	}
	s.ledger.setPointers(bytes - removed) // others may have removed some, too
}

// pointerBytes is how many bytes of the disk the pointers take.
func (s *Store) pointerBytes(ctx context.Context) (bytes int64, err error) {
	err = s.walkPointers(ctx, func(_ string, st fs.FileInfo) error {
		bytes += allocated(st)
		return nil
	})
	return bytes, err
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
	path := s.pointer(key)
	st, err := os.Lstat(path)
	if os.Remove(path) == nil && err == nil {
		s.ledger.addPointers(-allocated(st))
	} // else it is found to be wrong by whoever asks
}
