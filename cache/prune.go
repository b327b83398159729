package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/opencontainers/go-digest"
)

const (
	// temporaryFor is how long a temporary file may be being written: it takes moments,
	// or, on a disk that hangs, some minutes.
	temporaryFor = time.Hour
	// pointerFor is how long a pointer is of use that leads to nothing in the cache.
	pointerFor = 24 * time.Hour
)

// PruneOptions says what goes besides what nobody needs. The zero value: nothing does.
type PruneOptions struct {
	To        int64         // bytes of the disk that blobs take to go down to, by what wasn't used for longest; 0: whatever there is
	OlderThan time.Duration // blobs that weren't used for that long go; 0: none
	DryRun    bool          // say what would go, and remove nothing
	// Progress is told how much went already.
	Progress func(Removed)
}

// Removed is what Prune or Clear removed.
type Removed struct {
	Blobs       Held `json:"blobs"`
	Left        Held `json:"left"`        // by downloads
	Temporary   Held `json:"temporary"`   // files that never got their names
	Quarantined Held `json:"quarantined"` // damaged blobs that were set aside
	Pointers    Held `json:"pointers"`
	Indexes     Held `json:"indexes"`
}

// Total is all of it.
func (r Removed) Total() Held {
	var t Held
	for _, h := range []Held{r.Blobs, r.Left, r.Temporary, r.Quarantined, r.Pointers, r.Indexes} {
		t.Files += h.Files
		t.Bytes += h.Bytes
	}
	return t
}

// Prune removes what nobody needs: what downloads left that nobody continues, temporary
// files of processes that were killed, what was set aside, and, after a day, pointers to
// what isn't in the cache any more. Blobs go as o says. Indexes stay. An error tells what couldn't be
// removed, or that ctx ended; what was stands beside it.
func (c *Directory) Prune(ctx context.Context, o PruneOptions) (Removed, error) {
	r := c.remover(o)
	old := func(b blobEntry) bool { return o.OlderThan > 0 && r.now.Sub(b.used) > o.OlderThan }
	r.blobs(ctx, func(blobs []blobEntry) []blobEntry {
		if o.OlderThan == 0 && o.To == 0 {
			return nil
		}
		byUse(blobs, r.now)
		var total int64 // bytes of those that stay
		for _, b := range blobs {
			if !old(b) {
				total += b.bytes
			}
		}
		var chosen []blobEntry
		for _, b := range blobs {
			beyond := o.To > 0 && total > o.To
			if beyond && !old(b) {
				total -= b.bytes
			}
			if beyond || old(b) {
				chosen = append(chosen, b)
			}
		}
		return chosen
	})
	r.leftovers(ctx)
	r.pointers(ctx, func(path string, st fs.FileInfo) bool {
		return r.now.Sub(st.ModTime()) > pointerFor && !c.leads(path, r.gone)
	})
	return r.removed, r.err(ctx, "prune")
}

// Clear removes all that can be fetched again. What a download under way has so far stays,
// and so does what is staged. Whoever has a blob open reads on, and its bytes are on the
// disk for as long.
func (c *Directory) Clear(ctx context.Context, progress func(Removed)) (Removed, error) {
	r := c.remover(PruneOptions{Progress: progress})
	unclean, others := c.unclean()
	closeAll(others)
	r.pointers(ctx, func(string, fs.FileInfo) bool { return true })
	r.indexes(ctx)
	r.blobs(ctx, func(all []blobEntry) []blobEntry { return all })
	r.leftovers(ctx)
	err := r.err(ctx, "clear")
	for _, s := range unclean {
		if err == nil {
			s.leave() // nothing is left that could be in doubt
		} else {
			s.f.Close()
		}
	}
	return r.removed, err
}

func (c *Directory) remover(o PruneOptions) *remover {
	return &remover{dir: c, o: o, now: time.Now(), gone: map[digest.Digest]bool{}}
}

// remover removes, and counts.
type remover struct {
	dir     *Directory
	o       PruneOptions
	now     time.Time
	removed Removed
	gone    map[digest.Digest]bool // blobs
	errs    []error
}

func (r *remover) err(ctx context.Context, what string) error {
	err := errors.Join(append(r.errs, ctx.Err())...)
	if err != nil {
		err = fmt.Errorf("%s of %s: %w", what, r.dir.dir, err)
	}
	return err
}

// remove removes a file. What is gone already counts for nobody.
func (r *remover) remove(path string, size int64, of *Held) (gone bool) {
	if !r.o.DryRun {
		switch err := os.Remove(path); {
		case errors.Is(err, fs.ErrNotExist):
			return true
		case err != nil:
			r.failed(err)
			return false
		}
	}
	of.add(size)
	if r.o.Progress != nil {
		r.o.Progress(r.removed)
	}
	return true
}

func (r *remover) failed(err error) {
	if len(r.errs) < maxErrors {
		r.errs = append(r.errs, err)
	}
}

// blobs removes those that choose gives of all.
func (r *remover) blobs(ctx context.Context, choose func(all []blobEntry) []blobEntry) {
	var all []blobEntry
	err := r.dir.walkBlobs(ctx, func(b blobEntry) error { all = append(all, b); return nil })
	if err != nil {
		return // ctx ended
	}
	for _, b := range choose(all) {
		if ctx.Err() != nil {
			return
		}
		if r.remove(r.dir.blob(b.digest), b.bytes, &r.removed.Blobs) {
			r.gone[b.digest] = true
		}
	}
}

// leftovers removes what nobody needs.
func (r *remover) leftovers(ctx context.Context) {
	for _, u := range r.dir.unfinished() {
		if ctx.Err() != nil {
			return
		}
		switch bytes := allocated(u.info); {
		case u.kind == isLeft:
			r.left(u.path)
		case u.kind == isTemporary && r.now.Sub(u.info.ModTime()) > temporaryFor:
			r.remove(u.path, bytes, &r.removed.Temporary)
		}
	}
	for _, st := range regular(r.dir.quarantine()) {
		if ctx.Err() != nil {
			return
		}
		r.remove(filepath.Join(r.dir.quarantine(), st.Name()), allocated(st), &r.removed.Quarantined)
	}
}

// left removes a partial file under its lock, so that no download begins to continue it
// in the same moment.
func (r *remover) left(path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.failed(err)
		}
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err == nil && tryLock(f) == nil && named(f, path) {
		r.remove(path, allocated(st), &r.removed.Left)
	}
}

// pointers removes those that are chosen.
func (r *remover) pointers(ctx context.Context, chosen func(path string, st fs.FileInfo) bool) {
	_ = r.dir.walkPointers(ctx, func(path string, st fs.FileInfo) { // it fails with ctx
		if chosen(path, st) {
			r.remove(path, allocated(st), &r.removed.Pointers)
		}
	})
}

// indexes removes all indexes.
func (r *remover) indexes(ctx context.Context) {
	_ = r.dir.walkIndexes(ctx, func(x blobEntry) error { // it fails with ctx
		r.remove(r.dir.indexPath(x.digest), x.bytes, &r.removed.Indexes)
		return nil
	})
}

// leads says whether a file of a pointer leads to a blob that is there, other than those
// that are gone, or to one that has an index.
func (l layout) leads(path string, gone map[digest.Digest]bool) bool {
	f, err := os.Open(path)
	if err != nil {
		return true // whatever it is, it isn't known to be of no use
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPointer))
	if err != nil {
		return true
	}
	d, ok := pointsTo(b)
	if !ok {
		return false
	}
	there := func(path string) bool {
		_, err := os.Lstat(path)
		return !errors.Is(err, fs.ErrNotExist)
	}
	return !gone[d] && there(l.blob(d)) || there(l.indexPath(d))
}
