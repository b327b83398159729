package ingest

import (
	"context"
	"hash"
	"io"
	"sync"
)

// hasher hashes the bytes of a blob in order. Bytes come to it in two ways: a fetch hands it those that
// it has just brought, or a goroutine of its own reads the file behind the front.
//
// One blob alone comes faster if another processor hashes it. Blobs that come at once keep the
// processors busy anyway: to read their bytes again, and to wake a goroutine for each piece, takes 11
// percent of the CPU time then (ten blobs at once on two processors). So a fetch hands its bytes over
// while as many blobs come as there are processors.
type hasher struct {
	mu sync.Mutex // guards the fields; held while bytes are hashed; a leaf
	h  hash.Hash
	at int64 // up to where the blob is hashed

	behind signal // the file has bytes that no fetch handed over
}

// take hashes bytes from an offset on. false: it didn't, as others come before them or are being
// hashed.
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

// catchUp hashes what r has up to an offset, and gives up to where the blob is hashed.
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
