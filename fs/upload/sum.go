package upload

import (
	"context"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"
)

// runningSum is the hash of the first n bytes: writers write from 0 on, so that
// nothing has to be read again.
type runningSum struct {
	algo digest.Algorithm
	hash hash.Hash
	n    int64
	upTo int64 // what is being hashed ends here; n where nothing is
}

const (
	// sumEach is how much has to be written, in bytes, for it to be hashed behind whoever
	// writes. What is less is hashed at the close, as nobody notices.
	sumEach   = 1 << 20
	sumBuffer = 256 << 10
)

// summing is one that hashes a file behind its writer.
type summing struct {
	halt bool          // guarded by File.mu
	done chan struct{} // closed when it has ended
}

// sumBehind has what was written in order hashed, beside the writer. The bytes are
// read from the page cache again: that costs a fifth of hashing them, and neither
// memory nor the writer's time. mu is held, and disk.
func (f *File) sumBehind() {
	if f.summing != nil || f.front-f.summed() < sumEach {
		return
	}
	leave, err := f.root.area.enter()
	if err != nil {
		return
	}
	s := &summing{done: make(chan struct{})}
	f.summing = s
	f.refs++
	go func() {
		defer leave()
		defer f.letGo()
		defer close(s.done)
		buf := make([]byte, sumBuffer)
		for f.sumStep(s, buf) {
		}
	}()
}

// summed is how many bytes are hashed. mu is held.
func (f *File) summed() int64 {
	if f.sum == nil {
		return 0
	}
	return f.sum.n
}

// sumStep hashes the next bytes, and says whether there are more.
func (f *File) sumStep(s *summing, buf []byte) bool {
	f.mu.Lock()
	if s.halt || f.disk == nil || f.root.area.open.Err() != nil || f.front-f.summed() < int64(len(buf)) {
		f.summing = nil
		f.mu.Unlock()
		return false
	}
	if f.sum == nil {
		algo := digest.Canonical
		if f.promise != "" {
			algo = f.promise.Algorithm()
		}
		f.sum = &runningSum{algo: algo, hash: algo.Hash()}
	}
	sum, disk := f.sum, f.disk
	sum.upTo = sum.n + int64(len(buf))
	f.mu.Unlock()
	n, err := disk.ReadAt(buf, sum.n) // n is changed by nobody else
	if err == nil {
		sum.hash.Write(buf[:n])
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sum != sum { // written anew meanwhile
		return true
	}
	if err != nil {
		f.sum = nil
		s.halt = true // whoever closes the file is told
		return true
	}
	sum.n = sum.upTo
	return true
}

// haltSum returns with mu held, and nobody hashing behind it.
func (f *File) haltSum(ctx context.Context) error {
	for {
		f.mu.Lock()
		s := f.summing
		if s == nil {
			return nil
		}
		s.halt = true
		f.mu.Unlock()
		select {
		case <-s.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// digestOf hashes all bytes with an algorithm.
func (f *File) digestOf(ctx context.Context, algo digest.Algorithm) (digest.Digest, error) {
	f.mu.Lock()
	b, size := f.content, f.size
	f.mu.Unlock()
	if b.Digest != "" && size == b.Size && b.Digest.Algorithm() == algo {
		return b.Digest, nil
	}
	if err := f.hold(true); err != nil {
		return "", err
	}
	defer f.letGo()
	if err := f.haltSum(ctx); err != nil {
		return "", err
	}
	defer f.mu.Unlock()
	if f.content.Digest != "" {
		if err := f.fetch(ctx); err != nil {
			return "", err
		}
	}
	if f.digest != "" && f.digest.Algorithm() == algo {
		return f.digest, nil
	}
	sum := f.sum
	if sum == nil || sum.algo != algo || sum.n > f.size {
		sum = &runningSum{algo: algo, hash: algo.Hash()}
		f.sum = sum
	}
	buf := make([]byte, sumBuffer)
	for sum.n < f.size {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.disk.ReadAt(buf[:min(int64(len(buf)), f.size-sum.n)], sum.n)
		sum.hash.Write(buf[:n])
		sum.n += int64(n)
		sum.upTo = sum.n
		if err != nil && (err != io.EOF || sum.n < f.size) {
			return "", fmt.Errorf("reading what is staged: %w", err)
		}
	}
	f.digest = digest.NewDigest(algo, sum.hash)
	return f.digest, nil
}
