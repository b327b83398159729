package cache

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// Stats are the counts of a store since it was opened.
type Stats struct {
	Dir   string `json:"dir"`
	Bound int64  `json:"bound_bytes"` // that the directory has
	Limit int64  `json:"limit_bytes"` // of the moment: less than the bound where the disk is small
	// Bytes and the fields below it are of the disk, in whole blocks.
	Bytes        int64 `json:"bytes"`             // of blobs, as far as is known
	Partial      int64 `json:"partial_bytes"`     // left over by downloads, besides
	Pointers     int64 `json:"pointer_bytes"`     // besides
	IndexBytes   int64 `json:"index_bytes"`       // of indexes, besides
	Aside        int64 `json:"quarantined_bytes"` // of damaged blobs that were set aside, besides
	Entries      int   `json:"entries"`
	Indexes      int   `json:"indexes"` // that are kept, of blobs that are cached or were
	Open         int   `json:"open"`    // blobs that are open now
	Hits         int64 `json:"hits"`
	Misses       int64 `json:"misses"`
	Downloads    int64 `json:"downloads"`     // that succeeded
	Failures     int64 `json:"failures"`      // downloads that didn't
	Made         int64 `json:"made"`          // makings that succeeded
	MakeFailures int64 `json:"make_failures"` // makings that didn't
	Evictions    int64 `json:"evictions"`
	Quarantined  int64 `json:"quarantined"` // blobs that were set aside
	InDoubt      int   `json:"in_doubt"`    // blobs that are hashed again before they are read, after an unclean end
	// Trouble is what keeps the directory from being written now, and since when; "": nothing.
	Trouble      string    `json:"trouble,omitempty"`
	TroubleSince time.Time `json:"trouble_since,omitzero"`
	NoLocks      string    `json:"no_locks,omitempty"` // why locks keep no other process out, so that each downloads for itself; "": they do
}

// Stats gives the counts of this moment.
func (s *Store) Stats() Stats {
	sums, limit := s.ledger.sums(), s.limit()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Dir, st.Bound, st.Limit, st.Bytes, st.Partial = s.dir, sums.max, limit, sums.kept, sums.left
	st.Pointers, st.Aside = sums.pointers, sums.aside
	st.Indexes, st.IndexBytes = sums.indexes.Files, sums.indexes.Bytes
	st.Entries, st.Open, st.Evictions = sums.entries, sums.pinned, s.evictions.Load()
	st.InDoubt = s.checker.left()
	st.Trouble, st.TroubleSince = s.trouble.current()
	if why := s.noLocks.Load(); why != nil {
		st.NoLocks = (*why).Error()
	}
	return st
}

// Transfer is a download or a making under way, or the hashing of a blob in doubt that someone
// waits for.
type Transfer struct {
	Kind    string        `json:"kind"`   // "download", "unpack" or "check"
	Digest  digest.Digest `json:"digest"` // of an unpack: of the blob that is unpacked
	From    string        `json:"from"`
	Done    int64         `json:"done_bytes"`
	Size    int64         `json:"total_bytes"` // -1: not known
	Waiters int           `json:"waiters"`
	Started time.Time     `json:"started"`
}

// underWay gives all downloads. mu is held.
func (s *Store) underWay() iter.Seq[*download] {
	return func(yield func(*download) bool) {
		for _, of := range s.downloads {
			for _, dl := range of {
				if !yield(dl) {
					return
				}
			}
		}
	}
}

// Transfers lists the downloads under way, the oldest first, then the makings, and then the
// checks.
func (s *Store) Transfers() []Transfer {
	return slices.Concat(s.transfersOfDownloads(), s.transfersOfMakings(), s.checker.transfers())
}

// olderTransfer orders transfers by when they began.
func olderTransfer(a, b Transfer) int {
	return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Digest, b.Digest))
}

func (s *Store) transfersOfDownloads() []Transfer {
	s.mu.Lock()
	defer s.mu.Unlock()
	ts := []Transfer{}
	for dl := range s.underWay() {
		ts = append(ts, Transfer{"download", dl.want.Digest, dl.want.From, dl.in.Done(), dl.want.Size, dl.waiters, dl.started.UTC()})
	}
	slices.SortFunc(ts, olderTransfer)
	return ts
}
