package cache

import (
	"maps"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
)

// ledger accounts for the bytes of the disk that a store takes, and decides which blob goes
// next. It calls nothing that touches the disk.
//
// Invariant, whenever mu is free: total is the sum of index; no digest is in going and in
// index; each digest in unlinked is in pinned; a digest that was pinned before it went to
// going isn't in it; and no name is in ours and in left.
//
// Pointers are counted by directory. A count of the disk is taken over only if this
// process changed nothing in that directory since the count began.
//
// A blob is pinned before its file is opened, and before a file gets its name. A pinned blob
// isn't chosen. Who pins one that is going waits for one unlink, and then finds it missing.
// So an open file is never unlinked by its own process, and nor is one that has just come.
type ledger struct {
	mu           sync.Mutex // guards what follows; a leaf: no other lock is taken under it
	max          int64      // the bound, in bytes
	index        lru        // blobs that have a name in the store
	total        int64      // bytes in index
	notes        uint64     // how often a blob was noted; tells a scan what is newer than it
	fresh        int64      // bytes that came since ofNote last said true
	reservations map[*reservation]bool
	pinned       map[digest.Digest]int           // how often a blob is in use in this process
	going        map[digest.Digest]chan struct{} // blobs being unlinked; closed when that is over
	unlinked     map[digest.Digest]int64         // bytes of pinned blobs that have no name any more
	pointers     [pointerDirs]pointerDir         // by the first byte of a pointer's name
	indexes      Held                            // as they were when they were last counted
	aside        int64                           // bytes of damaged blobs that were set aside, as it was when they were last counted
	left         map[string]int64                // bytes of partial files that nobody here continues, by name
	ours         map[string]bool                 // partial files that downloads of this process write, by name; none is in left
	scanned      *scanned                        // nil: no scan is under way
}

// reservation is room for bytes that are going to be written. Its zero value reserves nothing.
type reservation struct {
	bytes int64        // guarded by ledger.mu
	came  func() int64 // how many of them are on the disk; nil: not known
}

func newLedger(max int64) *ledger {
	return &ledger{
		max: max, index: lru{entries: map[digest.Digest]*entry{}}, reservations: map[*reservation]bool{},
		pinned: map[digest.Digest]int{}, going: map[digest.Digest]chan struct{}{},
		unlinked: map[digest.Digest]int64{}, left: map[string]int64{}, ours: map[string]bool{},
	}
}

func (l *ledger) setMax(max int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.max = max
}

// pin keeps a blob from eviction until unpin.
func (l *ledger) pin(d digest.Digest) {
	l.mu.Lock()
	l.pinned[d]++
	going := l.going[d]
	l.mu.Unlock()
	if going != nil {
		<-going
	}
}

func (l *ledger) unpin(d digest.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pinned[d]--; l.pinned[d] <= 0 {
		delete(l.pinned, d)
		delete(l.unlinked, d)
	}
}

// note says that a blob is in the store, takes so many bytes, and was used just now.
func (l *ledger) note(d digest.Digest, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noteLocked(d, bytes)
}

func (l *ledger) noteLocked(d digest.Digest, bytes int64) {
	l.notes++
	e := l.index.use(d)
	l.total += bytes - e.bytes
	e.bytes, e.noted = bytes, l.notes
	if l.scanned != nil {
		delete(l.scanned.removed, d)
	}
}

// demote makes a blob the one that goes next.
func (l *ledger) demote(d digest.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.index.entries[d]; e != nil {
		l.index.remove(e)
		l.index.link(nil, e, l.index.oldest())
	}
}

// mark is a moment, for vanished.
func (l *ledger) mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.notes
}

// vanished says that a blob isn't in the store any more. One that was noted since a mark, which
// is to be taken before the disk is asked, has come in between, and stays.
func (l *ledger) vanished(d digest.Digest, mark uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.index.entries[d]
	if e == nil || e.noted > mark {
		return
	}
	l.removeLocked(e)
	if l.pinned[d] > 0 { // the disk has it for as long as it is open
		l.unlinked[d] += e.bytes
	}
}

// removeLocked takes a blob out of the index.
func (l *ledger) removeLocked(e *entry) {
	l.index.remove(e)
	l.total -= e.bytes
	if l.scanned != nil {
		l.scanned.removed[e.digest] = true
	}
}

// unnamed counts a pinned blob whose file has no name, until it isn't pinned any more. One that
// is larger than the whole bound makes nothing go, and isn't counted.
func (l *ledger) unnamed(d digest.Digest, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pinned[d] > 0 && bytes <= l.max {
		l.unlinked[d] += bytes
	}
}

// pointerDir is what the pointers in one directory take.
type pointerDir struct {
	bytes   int64  // as they were counted last, and as Remember and Forget changed that
	changes uint64 // how often Remember and Forget changed it; tells a count that it missed some
}

// addPointer counts bytes of pointers that came to a directory, or went where bytes is negative.
func (l *ledger) addPointer(dir byte, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.pointers[dir]
	p.bytes = max(0, p.bytes+bytes)
	p.changes++
}

// pointerMark is a moment, for countedPointers.
func (l *ledger) pointerMark(dir byte) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pointers[dir].changes
}

// countedPointers takes over what the pointers in a directory take. mark is to be taken before the
// disk is asked. false: pointers came or went since then, and the count stays as it was.
func (l *ledger) countedPointers(dir byte, bytes int64, mark uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.pointers[dir]
	if p.changes != mark {
		return false
	}
	p.bytes = bytes
	return true
}

// setIndexes takes over how many indexes there are.
func (l *ledger) setIndexes(all Held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.indexes = all
}

// addIndexes counts indexes that came, or went where the numbers are negative.
func (l *ledger) addIndexes(change Held) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.indexes.Files = max(0, l.indexes.Files+change.Files)
	l.indexes.Bytes = max(0, l.indexes.Bytes+change.Bytes)
}

// setAside takes over how many bytes of damaged blobs there are that were set aside.
func (l *ledger) setAside(bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aside = bytes
}

// ofNote counts bytes that are new in the directory, and says true once they are more than
// percent of the bound.
func (l *ledger) ofNote(bytes, percent int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fresh += bytes; l.fresh <= l.max/100*percent {
		return false
	}
	l.fresh = 0
	return true
}

// reserve makes a reservation one of so many bytes.
func (l *ledger) reserve(r *reservation, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.bytes = bytes
	l.reservations[r] = true
}

// release ends a reservation. A second call does nothing.
func (l *ledger) release(r *reservation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.reservations, r)
	r.bytes = 0
}

// settle notes a blob that has its name now, in place of its reservation: it isn't counted
// twice.
func (l *ledger) settle(r *reservation, d digest.Digest, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noteLocked(d, bytes)
	delete(l.reservations, r)
	r.bytes = 0
}

// leave counts a partial file that nobody continues.
func (l *ledger) leave(name string, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changedPartial(name)
	l.left[name] = bytes
}

// takeUp says that a download of this process writes a partial file, until leave or dropped: its
// reservation counts the file.
func (l *ledger) takeUp(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changedPartial(name)
	l.ours[name] = true
}

// dropped says that a partial file is gone.
func (l *ledger) dropped(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changedPartial(name)
}

// changedPartial forgets what was known of a partial file. mu is held.
func (l *ledger) changedPartial(name string) {
	delete(l.left, name)
	delete(l.ours, name)
	if l.scanned != nil {
		l.scanned.left[name] = true
	}
}

// isOurs says whether a download of this process writes a partial file.
func (l *ledger) isOurs(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ours[name]
}

// lefts gives the names of partial files that nobody continues.
func (l *ledger) lefts() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.left))
}

// sums are the ledger's sums at a moment, in bytes of the disk: whole blocks.
type sums struct {
	kept     int64 // blobs that have a name
	left     int64 // partial files that nobody here continues
	unlinked int64 // open files that have no name
	pointers int64 // pointers
	indexes  Held
	aside    int64 // damaged blobs that were set aside
	reserved int64
	arrived  int64 // of reserved: on the disk already
	max      int64 // the bound
	entries  int
	pinned   int
}

// held is what the disk has for the store, without downloads under way.
func (s sums) held() int64 {
	return s.kept + s.left + s.unlinked + s.pointers + s.indexes.Bytes + s.aside
}

// used is what counts against the bound.
func (s sums) used() int64 { return s.held() + s.reserved }

// limit is the bound on a disk that has so many bytes free, and in all.
func (s sums) limit(disk Usage) int64 {
	if disk.Size == 0 {
		return s.max
	}
	return min(s.max, max(0, s.held()+s.arrived+disk.Free-keepFree(disk)))
}

func (l *ledger) sums() sums {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sumsLocked()
}

func (l *ledger) sumsLocked() sums {
	s := sums{kept: l.total, indexes: l.indexes, aside: l.aside, max: l.max, entries: l.index.len(), pinned: len(l.pinned)}
	for i := range l.pointers {
		s.pointers += l.pointers[i].bytes
	}
	for _, n := range l.left {
		s.left += n
	}
	for _, n := range l.unlinked {
		s.unlinked += n
	}
	for r := range l.reservations {
		s.reserved += r.bytes
		if r.came != nil {
			s.arrived += min(r.came(), r.bytes)
		}
	}
	return s
}

// choose gives the blob that wasn't used for longest, if more than goal bytes count against
// the bound. It is going until gone is called. A blob that is open is passed over, and counts
// as used now.
func (l *ledger) choose(goal int64) (d digest.Digest, bytes int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sumsLocked().used() <= goal {
		return "", 0, false
	}
	for range l.index.len() {
		e := l.index.oldest()
		if l.pinned[e.digest] > 0 {
			l.index.use(e.digest)
			continue
		}
		l.removeLocked(e)
		l.going[e.digest] = make(chan struct{})
		return e.digest, e.bytes, true
	}
	return "", 0, false
}

// gone ends what choose began.
func (l *ledger) gone(d digest.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.going[d])
	delete(l.going, d)
}
