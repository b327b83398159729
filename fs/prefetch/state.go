package prefetch

import (
	"math"

	"github.com/opencontainers/go-digest"
)

// State says what has come of the asks of a session.
type State struct {
	Asked int `json:"asked"` // asks that were taken
	Ended int `json:"ended"` // asks of which nothing is to be brought any more
	// Found counts the items that the asks need, as far as is known, each once. Here counts those
	// that are in the cache.
	Found int `json:"found"`
	Here  int `json:"here"`
	// TotalBytes and DoneBytes are those of all items that were found, packed.
	TotalBytes int64 `json:"total_bytes"`
	DoneBytes  int64 `json:"done_bytes"`
	// LimitBytes is what the cache takes of its disk at most.
	LimitBytes int64 `json:"limit_bytes"`
	// Active are the items for which something is under way, MaxActive at most.
	Active []Item `json:"active"`
	// Missing are the items that a check found missing, MaxMissing at most. Lacking counts them.
	Missing []Item `json:"missing"`
	Lacking int    `json:"lacking"`
	// Failures are what couldn't be brought, MaxFailures at most. Failed counts them.
	Failures []Failure `json:"failures"`
	Failed   int       `json:"failed"`
}

// Sum adds two numbers of bytes, neither of which is negative. A sum that no int64 holds is the largest
// one that does: a manifest may promise any size.
func Sum(a, b int64) int64 { return a + min(b, math.MaxInt64-a) }

// Limits on the lists in a State, so that one of a whole repository can still be read.
const (
	MaxActive   = 16
	MaxMissing  = 10_000
	MaxFailures = 100
)

// Item is a thing that is brought.
type Item struct {
	Path   string        `json:"path"` // of the ask that named it first
	Name   string        `json:"name"` // for a person: "layer 2 of 5 of HOST/REPOSITORY@DIGEST"
	Kind   string        `json:"kind"` // "manifest", "blob" or "layer"; of an active one "download", "unpack" or "check"
	Digest digest.Digest `json:"digest"`
	Done   int64         `json:"done_bytes"`
	Total  int64         `json:"total_bytes"` // -1: not known
}

// Failure is something that couldn't be brought. It is a line of .ocifs/errors.jsonl too, unless it
// is an ordinary errno.
type Failure struct {
	Path  string `json:"path"`
	Errno string `json:"errno"` // its name
	Cause string `json:"cause"`
	Hint  string `json:"hint"`
}
