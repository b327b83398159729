package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
	return s.writeFile(s.pointer(key), b, false)
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
	_ = os.Remove(s.pointer(key)) // else it is found to be wrong by whoever asks
}
