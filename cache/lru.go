package cache

import (
	"iter"

	"github.com/opencontainers/go-digest"
)

// lru are blobs in the order of their use. It isn't safe for concurrent use. With a
// container/list a blob takes 195 bytes in place of 163 (BenchmarkIndexMemory), as each Element
// has its value in another allocation, and 15 lines are saved. golang-lru adds nothing at the
// oldest end, where a scan adds what it finds.
type lru struct {
	entries    map[digest.Digest]*entry
	young, old *entry
}

// entry is a blob in the order of use. It takes 163 to 200 bytes of memory with its
// digest and its place in the map (BenchmarkIndexMemory, of 200,000 blobs).
type entry struct {
	digest         digest.Digest
	bytes          int64  // of the disk
	noted          uint64 // ledger.notes when it was noted last; 0: a scan found it
	younger, older *entry
}

func (l *lru) len() int { return len(l.entries) }

// oldest is the one that wasn't used for longest; nil: there is none.
func (l *lru) oldest() *entry { return l.old }

// use makes a blob the youngest, and adds it where it isn't there.
func (l *lru) use(d digest.Digest) *entry {
	e := l.entries[d]
	switch {
	case e == nil:
		e = &entry{digest: d}
	case e == l.young:
		return e
	default:
		l.remove(e)
	}
	l.link(l.young, e, nil)
	return e
}

// addOldest adds a blob that isn't there.
func (l *lru) addOldest(d digest.Digest) *entry {
	e := &entry{digest: d}
	l.link(nil, e, l.old)
	return e
}

// link adds e between two neighbours. Nil stands for the end of the list.
func (l *lru) link(older, e, younger *entry) {
	l.entries[e.digest] = e
	e.older, e.younger = older, younger
	if older != nil {
		older.younger = e
	} else {
		l.old = e
	}
	if younger != nil {
		younger.older = e
	} else {
		l.young = e
	}
}

func (l *lru) remove(e *entry) {
	delete(l.entries, e.digest)
	if e.younger != nil {
		e.younger.older = e.older
	} else {
		l.young = e.older
	}
	if e.older != nil {
		e.older.younger = e.younger
	} else {
		l.old = e.younger
	}
	e.younger, e.older = nil, nil
}

// all gives the blobs, the last used first.
func (l *lru) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for e := l.young; e != nil && yield(e); e = e.older {
		}
	}
}
