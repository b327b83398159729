package cache

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"
)

// checker hashes cached blobs again. One blob is hashed once at a time, for all who wait for
// it. Its hash is kept when they all leave, so that the next one goes on and no byte is read
// twice. It is safe for concurrent use.
type checker struct {
	layout
	log      *slog.Logger
	ctx      context.Context // ends with the store
	setAside func(d digest.Digest, f *os.File, why string)
	slots    chan struct{}  // one place for each large blob that is hashed for readers
	work     sync.WaitGroup // goroutines; none is added once closed is set

	mu      sync.Mutex // guards the fields below; a leaf: no other lock is taken under it
	closed  bool
	readers int           // readers that wait for a check of any blob
	changed chan struct{} // closed when a reader comes or leaves, and made anew
	checks  map[digest.Digest]*check
	doubt   doubt
	sizes   *simplelru.LRU[digest.Digest, int64] // bytes of blobs that a check found sound; they hold for ever, as digests do
}

// maxSizes is how many sizes a checker remembers. 1024 take 177 KiB of memory (measured).
const maxSizes = 1024

// check is the hashing of one blob.
type check struct {
	digest  digest.Digest
	started time.Time
	done    atomic.Int64 // bytes that were hashed

	// The hash of the first done bytes of the file with that inode. They belong to the
	// goroutine that hashes, and to nobody while there is none.
	hash  hash.Hash
	inode uint64

	// Guarded by checker.mu.
	size    int64    // of the file, in bytes; 0: it isn't open yet
	readers int      // readers that wait for it; 0: it is hashed in the background
	waiters int      // the readers, and the background
	run     *hashRun // nil: nobody hashes
}

// hashRun is one goroutine that hashes, until it is through or all who waited have left.
type hashRun struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed at the end; the fields below are set before

	verdict verdict
	err     error // why nothing can be said of the blob
}

// verdict is what a check found.
type verdict struct {
	sound bool  // false: the file was damaged and was set aside, or there is none
	size  int64 // of a sound file, in bytes
	none  bool  // nothing was hashed: the blob isn't in doubt any more
}

func newChecker(ctx context.Context, l layout, log *slog.Logger, setAside func(d digest.Digest, f *os.File, why string)) *checker {
	sizes, err := simplelru.NewLRU[digest.Digest, int64](maxSizes, nil)
	if err != nil {
		panic(err) // maxSizes is positive
	}
	return &checker{
		sizes:  sizes,
		layout: l, log: log, ctx: ctx, setAside: setAside, changed: make(chan struct{}), checks: map[digest.Digest]*check{},
		slots: make(chan struct{}, max(2, runtime.NumCPU())), // the one in the background may have one, too
	}
}

// close waits for what is under way. The store's context has ended.
func (c *checker) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.work.Wait()
}

// check waits until a blob was hashed, for a reader. A damaged file is set aside. The error
// is ctx's, or says why the blob can't be hashed.
func (c *checker) check(ctx context.Context, d digest.Digest) (verdict, error) {
	return c.wait(ctx, d, 1, false)
}

// checkDoubt is check of a blob that was in doubt. If a check has ended the doubt meanwhile, none
// is made.
func (c *checker) checkDoubt(ctx context.Context, d digest.Digest) (verdict, error) {
	return c.wait(ctx, d, 1, true)
}

// checkBehind is checkDoubt for nobody: it leaves the disk and the CPU to readers.
func (c *checker) checkBehind(ctx context.Context, d digest.Digest) (verdict, error) {
	return c.wait(ctx, d, 0, true)
}

// wait waits until a blob was hashed, for so many readers. inDoubt says that nothing is hashed if
// the blob isn't in doubt any more.
func (c *checker) wait(ctx context.Context, d digest.Digest, readers int, inDoubt bool) (verdict, error) {
	for {
		k, run, err := c.enter(d, readers, inDoubt)
		if err != nil {
			return verdict{}, err
		}
		if run == nil {
			return verdict{none: true}, nil
		}
		select {
		case <-run.ended:
		case <-ctx.Done():
		}
		c.leave(k, readers)
		switch {
		case ctx.Err() != nil:
			return verdict{}, ctx.Err()
		case errors.Is(run.err, context.Canceled) && c.ctx.Err() != nil:
			return verdict{}, ErrClosed
		case errors.Is(run.err, context.Canceled):
			continue // the others left just before this one came
		}
		return run.verdict, run.err
	}
}

// enter makes one more wait for a check, and starts it if nobody hashes. With inDoubt, it gives no
// run for a blob that isn't in doubt any more.
func (c *checker) enter(d digest.Digest, readers int, inDoubt bool) (*check, *hashRun, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.checks[d]
	if k == nil && inDoubt && c.doubt.over(d) {
		return nil, nil, nil
	}
	if k == nil {
		k = &check{digest: d, started: time.Now()}
	}
	if k.run == nil {
		if c.closed {
			return nil, nil, ErrClosed
		}
		c.work.Add(1)
		ctx, cancel := context.WithCancel(c.ctx)
		run := &hashRun{cancel: cancel, ended: make(chan struct{})}
		k.run = run
		c.checks[d] = k
		go func() {
			defer c.work.Done()
			defer cancel()
			v, err := c.hash(ctx, k, readers > 0)
			c.finish(k, run, v, err)
		}()
	}
	k.waiters++
	c.count(k, readers)
	return k, k.run, nil
}

// leave ends one wait. The last one ends the hashing.
func (c *checker) leave(k *check, readers int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.waiters--
	c.count(k, -readers)
	if k.waiters == 0 && k.run != nil {
		k.run.cancel()
	}
}

// count counts readers that came, or left. mu is held.
func (c *checker) count(k *check, readers int) {
	k.readers += readers
	c.readers += readers
	close(c.changed)
	c.changed = make(chan struct{})
}

// waiting tells how many readers wait for a check, and for any. changed is closed when that
// changes.
func (c *checker) waiting(k *check) (this, any int, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.readers, c.readers, c.changed
}

// finish tells the outcome to all who wait. A check that was interrupted is kept, to be gone
// on with.
func (c *checker) finish(k *check, run *hashRun, v verdict, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	run.verdict, run.err = v, err
	k.run = nil
	if !errors.Is(err, context.Canceled) {
		delete(c.checks, k.digest)
	}
	if err == nil {
		c.doubt.end(k.digest)
	}
	if err == nil && v.sound {
		c.sizes.Add(k.digest, v.size)
	}
	close(run.ended)
}

// progress is how many bytes of a blob were hashed by the check under way; 0: there is none.
func (c *checker) progress(d digest.Digest) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.checks[d]; k != nil {
		return k.done.Load()
	}
	return 0
}

// size gives the size of a blob that a check found sound, as far as that is remembered.
func (c *checker) size(d digest.Digest) (bytes int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sizes.Get(d)
}

// hash hashes what isn't yet hashed of a blob, and sets its file aside if that is damaged.
// forReader says that it was started for a reader.
func (c *checker) hash(ctx context.Context, k *check, forReader bool) (verdict, error) {
	f, err := os.Open(c.blob(k.digest))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return verdict{}, nil
	case err != nil && unreadable(err):
		c.setAside(k.digest, nil, fmt.Sprintf("the disk can't open it: %v", err))
		return verdict{}, nil
	case err != nil:
		return verdict{}, fmt.Errorf("hash %s again: %w", k.digest, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return verdict{}, fmt.Errorf("hash %s again: %w", k.digest, err)
	}
	if !st.Mode().IsRegular() {
		c.setAside(k.digest, f, "it isn't a regular file")
		return verdict{}, nil
	}
	if k.hash == nil || k.inode != inode(st) {
		k.hash, k.inode = k.digest.Algorithm().Hash(), inode(st)
		k.done.Store(0)
	}
	c.mu.Lock()
	k.size = st.Size()
	c.mu.Unlock()
	if k.size > checkAtOnce && forReader {
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-ctx.Done():
			return verdict{}, ctx.Err()
		}
	}
	why, n, err := damageFrom(ctx, k.digest, paced{c, k, ctx, f}, k.hash, k.done.Load())
	switch {
	case err != nil && ctx.Err() != nil:
		return verdict{}, ctx.Err()
	case err != nil:
		return verdict{}, fmt.Errorf("hash %s again: %w", k.digest, err)
	case why != "":
		c.setAside(k.digest, f, why)
		return verdict{}, nil
	}
	step("checked")
	return verdict{sound: true, size: n}, nil
}

// paced reads at full speed while a reader waits for the check. In the background it takes one
// part in backgroundShare of the time, and none while readers wait for other checks.
type paced struct {
	c   *checker
	k   *check
	ctx context.Context
	f   *os.File
}

func (p paced) ReadAt(b []byte, off int64) (int, error) {
	began := time.Now()
	n, err := p.f.ReadAt(b, off)
	p.k.done.Add(int64(n))
	pause := time.After((backgroundShare - 1) * (time.Since(began) + hashTime(n)))
	for {
		this, any, changed := p.c.waiting(p.k)
		if this > 0 {
			return n, err
		}
		over := pause
		if any > 0 {
			over = nil
		}
		select {
		case <-over:
			return n, err
		case <-changed:
		case <-p.ctx.Done():
			return n, err
		}
	}
}

// hashTime is about how long n bytes take to be hashed.
func hashTime(n int) time.Duration { return time.Duration(n) } // a gigabyte a second

// transfers lists the checks that readers wait for.
func (c *checker) transfers() (ts []Transfer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.checks {
		if k.readers > 0 {
			ts = append(ts, Transfer{"check", k.digest, c.dir, k.done.Load(), k.size, k.readers, k.started.UTC()})
		}
	}
	slices.SortFunc(ts, olderTransfer)
	return ts
}
