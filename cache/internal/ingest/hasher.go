package ingest

import (
	"context"
	"hash"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache/internal/lanes"
)

// hasher hashes the bytes of a blob in order. There are two ways: a fetch hands over the bytes that it
// has just written, or the follower (Attempt.follow) reads them from the file, up to the front.
//
// One blob alone comes faster if another processor hashes it. Many blobs at once keep the processors
// busy anyway. To read their bytes again, and to wake a goroutine for each piece, takes 3 to 11 percent of
// the CPU time then (ten blobs at once on two processors). So fetches hand their bytes over while as
// many blobs come as there are processors. Where lanes hash many blobs at once, they save more than that.
// Followers read files, so that their writes meet in turns of lanes. Fetches wait for connections, and
// their writes don't meet. So there the followers hash, once enough blobs come.
type hasher struct {
	mu sync.Mutex // guards h and at; held while bytes are read and hashed
	h  hash.Hash
	at int64 // the offset up to which the blob is hashed

	behind signal // the file may have bytes up to the front that no fetch handed over
}

// take hashes bytes from an offset on, unless other bytes come before them or are being hashed. It
// says whether it did.
func (h *hasher) take(b []byte, offset int64) bool {
	if !h.mu.TryLock() {
		return false
	}
	defer h.mu.Unlock()
	if h.at != offset {
		return false
	}
	h.h.Write(b)
	h.at += int64(len(b))
	return true
}

// catchUp hashes the bytes of r up to an offset. It gives the offset up to which the blob is hashed.
func (h *hasher) catchUp(ctx context.Context, r io.ReaderAt, to int64) (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at < to {
		if err := HashRange(ctx, h.h, r, h.at, to); err != nil {
			return h.at, err
		}
		h.at = to
	}
	return h.at, nil
}

// newHash gives the hash of an algorithm.
func newHash(a digest.Algorithm) hash.Hash {
	if a == digest.SHA256 {
		return lanes.New()
	}
	return a.Hash()
}
