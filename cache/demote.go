package cache

import (
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"
)

// demotedBit is the permission by which a blob's file says that the blob is to go before all
// others. Its time can't say that: it tells since when the file may be in doubt, and how long it
// wasn't used. Nobody runs a blob, so that the owner's permission to do so is free. Where a disk has
// no permissions, the order is known to this process alone.
const demotedBit fs.FileMode = 0o100

// Demote makes a blob the first to be evicted, for this and other processes and after a restart. The
// next Open or Get makes it the last again. Its time of use stays as it is. A blob that is on its way
// is demoted when it has its place. One that isn't cached stays so.
func (s *Store) Demote(d digest.Digest) {
	if d.Validate() != nil {
		return
	}
	s.mu.Lock()
	for _, dl := range s.downloads[d] {
		dl.demoted = true
	}
	if a := s.placing[d]; a != nil {
		a.demoted = true
	}
	s.mu.Unlock()
	s.demote(d)
}

// demote makes a blob that has its place the first to be evicted.
func (s *Store) demote(d digest.Digest) {
	path := s.blob(d)
	if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() {
		_ = os.Chmod(path, st.Mode().Perm()|demotedBit) // recency is a hint
		s.ledger.demote(d)
	}
}

// promote takes Demote back, of a file that is open.
func promote(f *os.File, st fs.FileInfo) {
	if demoted(st) {
		_ = f.Chmod(st.Mode().Perm() &^ demotedBit) // recency is a hint
	}
}

func demoted(st fs.FileInfo) bool { return st.Mode()&demotedBit != 0 }
