package cache

import (
	"iter"

	"github.com/opencontainers/go-digest"
)

// scanned is what changed since a scan began, which the scan may have seen as it was before.
type scanned struct {
	left    map[string]bool        // partial files
	removed map[digest.Digest]bool // blobs that went, and didn't come again
}

// scanBegins says that the directory is going to be read. It gives the mark for vanished.
func (l *ledger) scanBegins() (mark uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.scanned = &scanned{left: map[string]bool{}, removed: map[digest.Digest]bool{}}
	for d := range l.going {
		l.scanned.removed[d] = true
	}
	return l.notes
}

// known gives the blobs that have a name, as far as is known, with the last used first.
func (l *ledger) known() []digest.Digest {
	l.mu.Lock()
	defer l.mu.Unlock()
	ds := make([]digest.Digest, 0, l.index.len())
	for e := range l.index.all() {
		ds = append(ds, e.digest)
	}
	return ds
}

// found takes up blobs that a scan found, the last used first. The index knows better than a
// file's time what was used last: what it has stays younger than what is new to it. What went
// since the scan began isn't there any more.
func (l *ledger) found(blobs []blobEntry) {
	for part := range chunks(blobs, foundAtOnce) {
		l.mu.Lock()
		for _, b := range part {
			if l.scanned.removed[b.digest] {
				continue
			}
			e := l.index.entries[b.digest]
			if e == nil {
				e = l.index.addOldest(b.digest)
			}
			l.total += b.bytes - e.bytes
			e.bytes = b.bytes
		}
		l.mu.Unlock()
	}
}

// foundAtOnce is how many blobs found takes up before it lets others have the lock. Measured, of
// 100,000 blobs: they take 0.1 ms where they are known, and 0.3 ms where they are new.
const foundAtOnce = 512

func chunks[T any](all []T, n int) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for len(all) > 0 {
			part := all[:min(n, len(all))]
			if !yield(part) {
				return
			}
			all = all[len(part):]
		}
	}
}

// foundLeft replaces the partial files that nobody here continues by those that a scan found, and
// ends the scan. What changed since it began is known better. What downloads of this process write
// is counted by their reservations.
func (l *ledger) foundLeft(found map[string]int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := map[string]int64{}
	for name, n := range found {
		if !l.ours[name] && !l.scanned.left[name] {
			left[name] = n
		}
	}
	for name, n := range l.left {
		if l.scanned.left[name] {
			left[name] = n
		}
	}
	l.left, l.scanned = left, nil
}
