package upload

import (
	"context"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
)

// runningSum is the hash of the first n bytes. Writers write from 0 on, so that no byte has to
// be read again at the close. The summing alone changes it while there is one, else the holder
// of the writing turn.
type runningSum struct {
	algo digest.Algorithm
	hash hash.Hash
	n    int64 // in bytes: what is hashed
	upTo int64 // in bytes: what is being hashed ends here; n where nothing is
}

const (
	// sumEach is how much has to be written, in bytes, for it to be hashed behind whoever
	// writes. What is less is hashed at the close, as nobody notices.
	sumEach   = 1 << 20
	sumBuffer = 256 << 10
)

// summing hashes a file behind its writer.
type summing struct {
	halt bool          // it is to end; guarded by File.mu
	done chan struct{} // closed when it has ended
}

// sumBehind hashes the bytes that were written in order, beside the writer. The bytes are
// read from the page cache again: that costs a fifth of hashing them, and neither
// memory nor the writer's time. mu is held, and disk.
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

// endSumming notes that the summing has ended. The hash is of no use if a panic ended it in the
// middle of a step.
func (f *File) endSumming(s *summing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sum != nil && f.sum.upTo != f.sum.n {
		f.sum = nil
	}
	f.summing = nil
	close(s.done)
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
	sum, disk := f.nextToSum(s, int64(len(buf)))
	if sum == nil {
		return false
	}
	n, err := disk.ReadAt(buf, sum.n) // n is changed by nobody else
	if err == nil {
		sum.hash.Write(buf[:n])
	}
	return f.stepped(sum, err)
}

// nextToSum says that the next n bytes are being hashed, and gives where they are; nil: they
// aren't there.
func (f *File) nextToSum(s *summing, n int64) (*runningSum, *os.File) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.halt || f.disk == nil || f.root.area.open.Err() != nil || f.front-f.summed() < n {
		return nil, nil
	}
	if f.sum == nil {
		algo := digest.Canonical
		if f.promise != "" {
			algo = f.promise.Algorithm()
		}
		f.sum = &runningSum{algo: algo, hash: algo.Hash()}
	}
	f.sum.upTo = f.sum.n + n
	return f.sum, f.disk
}

// stepped notes that the next bytes were hashed, or why not, and says whether to go on.
func (f *File) stepped(sum *runningSum, err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sum != sum { // written anew meanwhile
		return true
	}
	if err != nil { // whoever closes the file is told
		f.sum = nil
		return false
	}
	sum.n = sum.upTo
	return true
}

// haltSum ends the summing. The writing turn is held, so that none begins anew.
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

// askToHalt asks the summing to end, and gives it; nil: there is none.
func (f *File) askToHalt() *summing {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.summing != nil {
		f.summing.halt = true
	}
	return f.summing
}

// digestOf hashes all bytes with an algorithm. Reads go on meanwhile, writes wait.
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

// sumToEnd gives the hash to go on with until all size bytes are hashed. The writing turn is
// held, and nobody hashes behind the writer.
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
