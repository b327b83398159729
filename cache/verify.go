package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// VerifyOptions says how Verify works and whom it tells. The zero value is useful.
type VerifyOptions struct {
	Workers int // blobs that are hashed at once; 0: as many as there are CPUs
	// Progress is told how many bytes were hashed, of how many, and Damaged of each blob
	// that is. They are called one at a time.
	Progress func(done, total int64)
	Damaged  func(Damage)
}

// Damage is a blob whose file doesn't have the bytes that its digest promises, or an index that
// doesn't have its checksum.
type Damage struct {
	Digest digest.Digest `json:"digest"`          // of the blob
	Index  bool          `json:"index,omitempty"` // the index of that blob is damaged, and not the blob
	Bytes  int64         `json:"bytes"`           // of the file that could be read
	Why    string        `json:"why"`
	// Aside is where the file was moved to; "" where it wasn't kept, as no index is.
	Aside string `json:"aside"`
}

// Verified is what Verify found.
type Verified struct {
	Sound   Held     `json:"sound"`   // blobs
	Indexes Held     `json:"indexes"` // that are sound
	Damaged []Damage `json:"damaged"`
	// Vanished are blobs and indexes that were evicted, or replaced, before they had been hashed.
	Vanished int `json:"vanished"`
}

// Verify hashes all blobs, and all indexes. A damaged blob is set aside, so that whoever wants it
// fetches it again; who has it open reads on what is wrong. A damaged index is removed. What is written meanwhile was hashed on
// its way, and isn't again. An error tells what couldn't be verified, or that ctx ended;
// what was found until then stands beside it.
func (c *Directory) Verify(ctx context.Context, o VerifyOptions) (Verified, error) {
	v := verifier{dir: c, o: o, found: Verified{Damaged: []Damage{}}}
	unclean, others := c.unclean()
	closeAll(others)
	var blobs []blobEntry
	err := c.walkBlobs(ctx, func(b blobEntry) error {
		blobs = append(blobs, b)
		v.total += b.size
		return nil
	})
	var indexes []blobEntry
	if err == nil {
		err = c.walkIndexes(ctx, func(x blobEntry) error {
			indexes = append(indexes, x)
			v.total += x.size
			return nil
		})
	}
	slices.SortFunc(blobs, func(a, b blobEntry) int { return cmp.Compare(b.size, a.size) }) // a large one last would keep one CPU alone busy
	if err == nil {
		v.progress(0)
		var work errgroup.Group
		work.SetLimit(cmp.Or(o.Workers, runtime.NumCPU()))
		for _, b := range blobs {
			if ctx.Err() != nil {
				break
			}
			work.Go(func() error { v.verify(ctx, b); return nil })
		}
		for _, x := range indexes {
			if ctx.Err() != nil {
				break
			}
			work.Go(func() error { v.verifyIndex(ctx, x); return nil })
		}
		_ = work.Wait() // what fails is told all at once
		err = errors.Join(append(v.errs, ctx.Err())...)
	}
	for _, s := range unclean {
		if err == nil {
			s.leave() // nothing that was written before is in doubt any more
		} else {
			s.f.Close()
		}
	}
	if err != nil {
		err = fmt.Errorf("verify %s: %w", c.dir, err)
	}
	return v.found, err
}

// maxErrors is how many blobs that can't be read are told one by one.
const maxErrors = 10

// verifier is one run of Verify.
type verifier struct {
	dir   *Directory
	o     VerifyOptions
	total int64

	mu    sync.Mutex // also over the calls of o's functions
	done  int64
	found Verified
	errs  []error
}

func (v *verifier) verify(ctx context.Context, b blobEntry) {
	f, err := os.Open(v.dir.blob(b.digest))
	if err != nil {
		v.failed(ctx, err, b.size)
		return
	}
	defer f.Close()
	r := &counted{f: f, count: v.progress}
	why, err := damage(ctx, b.digest, r)
	switch {
	case err != nil:
		v.failed(ctx, err, b.size-r.n)
	case why == "":
		v.mu.Lock()
		v.found.Sound.add(b.size)
		v.mu.Unlock()
	default:
		to, err := v.dir.aside(b.digest, f)
		if errors.Is(err, fs.ErrNotExist) {
			v.failed(ctx, err, b.size-r.n)
			return
		}
		v.progress(b.size - r.n) // it may be shorter than it was, or longer
		v.damaged(Damage{Digest: b.digest, Bytes: r.n, Why: why, Aside: to}, err)
	}
}

// verifyIndex hashes an index, and removes one that is damaged.
func (v *verifier) verifyIndex(ctx context.Context, x blobEntry) {
	path := v.dir.indexPath(x.digest)
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
	} else if !unreadable(err) {
		v.failed(ctx, err, x.size)
		return
	}
	_, why, err := checkIndex(ctx, x.digest, f, err)
	if err != nil {
		v.failed(ctx, err, x.size)
		return
	}
	if why != "" && f != nil && !named(f, path) {
		v.failed(ctx, fs.ErrNotExist, x.size) // replaced meanwhile
		return
	}
	v.progress(x.size)
	if why == "" {
		v.mu.Lock()
		v.found.Indexes.add(x.size)
		v.mu.Unlock()
		return
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	v.damaged(Damage{Digest: x.digest, Index: true, Bytes: x.size, Why: why}, err)
}

// damaged notes what is, and what kept it from being set aside.
func (v *verifier) damaged(d Damage, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.found.Damaged = append(v.found.Damaged, d)
	if v.o.Damaged != nil {
		v.o.Damaged(d)
	}
	if err != nil && len(v.errs) < maxErrors {
		v.errs = append(v.errs, err)
	}
}

// failed notes why a blob wasn't verified, of which rest bytes weren't read.
func (v *verifier) failed(ctx context.Context, err error, rest int64) {
	if ctx.Err() != nil {
		return
	}
	v.progress(rest)
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.found.Vanished++
	case len(v.errs) < maxErrors:
		v.errs = append(v.errs, err)
	}
}

// progress tells of n more bytes.
func (v *verifier) progress(n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.done += n
	if v.o.Progress != nil {
		v.o.Progress(v.done, v.total)
	}
}

// counted counts what is read.
type counted struct {
	f     *os.File
	n     int64
	count func(int64)
}

func (r *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.f.ReadAt(p, off)
	r.n += int64(n)
	r.count(int64(n))
	return n, err
}
