package upload

import (
	"context"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
)

// runningSum is the hash of the first n bytes. Programs write a file in order, so that with
// it the close doesn't read the bytes again. While there is a summing, only the summing
// changes the runningSum. Otherwise only the holder of the writing turn does.
type runningSum struct {
	algo digest.Algorithm
	hash hash.Hash
	// n is how many bytes are hashed.
	n int64
	// upTo is where the bytes end that are being hashed now. It equals n when none are.
	upTo int64
}

const (
	// sumEach is how many bytes must be written before they are hashed behind the writer.
	// Fewer bytes are hashed at the close, because that takes no noticeable time.
	sumEach   = 1 << 20
	sumBuffer = 256 << 10
)

// summing is a goroutine that hashes a file behind its writer.
type summing struct {
	halt bool          // tells it to end; guarded by File.mu
	done chan struct{} // closed when it has ended
}

// sumBehind starts a goroutine that hashes the bytes written in order, beside the writer. It
// takes them from the window, or reads them from the disk. mu is held, and the file is pinned on
// the disk.
func (f *File) sumBehind() {
	if f.summing != nil || f.front-f.summed() < sumEach {
		return
	}
	a := f.root.area
	leave, err := a.enter()
	if err != nil {
		return
	}
	s := &summing{done: make(chan struct{})}
	f.summing = s
	f.refs++
	go func() {
		defer leave()
		defer f.letGo()
		defer f.endSumming(s)
		a.caught(func() {
			buf := make([]byte, sumBuffer)
			for f.sumStep(s, buf) {
			}
		})
	}()
}

// endSumming notes that the summing has ended. It drops the hash if a panic ended the summing
// in the middle of a step.
func (f *File) endSumming(s *summing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sum != nil && f.sum.upTo != f.sum.n {
		f.sum = nil
	}
	f.summing = nil
	f.wakeWriter()
	close(s.done)
}

// summed gives how many bytes are hashed. mu is held.
func (f *File) summed() int64 {
	if f.sum == nil {
		return 0
	}
	return f.sum.n
}

// sumStep hashes the next bytes. It says whether to go on.
func (f *File) sumStep(s *summing, buf []byte) bool {
	next := f.nextToSum(s, len(buf))
	if next == nil {
		return false
	}
	sum := next.sum
	if next.first != nil {
		sum.hash.Write(next.first)
		sum.hash.Write(next.second)
		return f.stepped(sum, nil)
	}
	n, err := next.disk.ReadAt(buf, sum.n) // only this goroutine changes sum.n
	if err == nil {
		sum.hash.Write(buf[:n])
	}
	return f.stepped(sum, err)
}

// sumPiece is what is hashed next: bytes of the window, or of the file on the disk.
type sumPiece struct {
	sum           *runningSum
	disk          *os.File
	first, second []byte // the bytes, in two pieces if they wrap around in the window; nil: they are on the disk
}

// nextToSum notes that the next n bytes are being hashed. nil means that so many bytes aren't
// written yet, or that the summing is to end.
func (f *File) nextToSum(s *summing, n int) *sumPiece {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.halt || f.disk == nil || f.root.area.open.Err() != nil || f.front-f.summed() < int64(n) {
		return nil
	}
	if f.sum == nil {
		algo := digest.Canonical
		if f.promise != "" {
			algo = f.promise.Algorithm()
		}
		f.sum = &runningSum{algo: algo, hash: algo.Hash()}
	}
	f.sum.upTo = f.sum.n + int64(n)
	next := &sumPiece{sum: f.sum, disk: f.disk}
	if f.ahead != nil {
		next.first, next.second = f.ahead.window.view(f.sum.n, n)
	}
	return next
}

// stepped notes that the next bytes were hashed, or that reading them failed. It says whether
// to go on.
func (f *File) stepped(sum *runningSum, err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sum != sum { // overwritten meanwhile: it starts anew
		return true
	}
	if err != nil { // the close reads again and reports it
		f.sum = nil
		return false
	}
	sum.n = sum.upTo
	f.wakeWriter()
	return true
}

// haltSum ends the summing. The writing turn is held, so that no new one begins.
func (f *File) haltSum(ctx context.Context) error {
	s := f.askToHalt()
	if s == nil {
		return nil
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// askToHalt tells the summing to end, and gives it; nil: there is none.
func (f *File) askToHalt() *summing {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.summing != nil {
		f.summing.halt = true
	}
	return f.summing
}

// digestOf gives the digest of all bytes with an algorithm. Writes wait for it, reads don't.
func (f *File) digestOf(ctx context.Context, algo digest.Algorithm) (digest.Digest, error) {
	if d := f.knownAs(algo); d != "" {
		return d, nil
	}
	if err := f.root.area.take(ctx, &f.writing); err != nil {
		return "", err
	}
	defer f.writing.give()
	if d := f.knownAs(algo); d != "" {
		return d, nil
	}
	if err := f.pinDisk(ctx); err != nil {
		return "", err
	}
	defer f.letGo()
	if err := f.haltSum(ctx); err != nil {
		return "", err
	}
	if err := f.fetch(ctx); err != nil {
		return "", err
	}
	if d := f.knownAs(algo); d != "" {
		return d, nil
	}
	sum, disk, size := f.sumToEnd(algo)
	buf := make([]byte, sumBuffer)
	for sum.n < size {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		n, err := disk.ReadAt(buf[:min(int64(len(buf)), size-sum.n)], sum.n)
		sum.hash.Write(buf[:n])
		sum.n += int64(n)
		sum.upTo = sum.n
		if err != nil && (err != io.EOF || sum.n < size) {
			return "", fmt.Errorf("reading what is staged: %w", err)
		}
	}
	return f.hashed(digest.NewDigest(algo, sum.hash)), nil
}

// sumToEnd gives the hash with which to hash the rest of the size bytes. The writing turn is
// held, and no summing is running.
func (f *File) sumToEnd(algo digest.Algorithm) (sum *runningSum, disk *os.File, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sum == nil || f.sum.algo != algo || f.sum.n > f.size {
		f.sum = &runningSum{algo: algo, hash: algo.Hash()}
	}
	return f.sum, f.disk, f.size
}

// hashed notes the digest of all bytes.
func (f *File) hashed(d digest.Digest) digest.Digest {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.digest = d
	return d
}
