package known

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Bounded keeps the things that were used last, bounded in bytes: a manifest, or a list of
// tags, may have two kilobytes or eight million. A Bounded is safe for concurrent use.
type Bounded[K comparable, V any] struct {
	max  int         // bytes
	cost func(V) int // the bytes that a value takes

	mu    sync.Mutex // guards all below
	lru   *simplelru.LRU[K, V]
	bytes int // the cost of all values
}

// NewBounded gives a Bounded of max bytes. cost gives the bytes that a value takes, and is
// called with a lock held.
func NewBounded[K comparable, V any](max int, cost func(V) int) *Bounded[K, V] {
	return &Bounded[K, V]{max: max, cost: cost, lru: newLRU[K, V](math.MaxInt, nil)}
}

// newLRU gives an LRU of a positive size. evicted is called with what goes; nil: nothing is.
func newLRU[K comparable, V any](size int, evicted func(K, V)) *simplelru.LRU[K, V] {
	l, err := simplelru.NewLRU[K, V](size, evicted)
	if err != nil {
		panic(err) // the size is positive
	}
	return l
}

// Get gives what is kept under k, or the zero value.
func (b *Bounded[K, V]) Get(k K) V {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, _ := b.lru.Get(k)
	return v
}

// Add keeps v, and drops what was used longest ago. The last one stays, however large it is.
func (b *Bounded[K, V]) Add(k K, v V) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(k, v)
}

// add is Add. mu is held.
func (b *Bounded[K, V]) add(k K, v V) {
	if old, ok := b.lru.Peek(k); ok {
		b.bytes -= b.cost(old)
	}
	b.lru.Add(k, v)
	for b.bytes += b.cost(v); b.bytes > b.max && b.lru.Len() > 1; {
		_, old, _ := b.lru.RemoveOldest()
		b.bytes -= b.cost(old)
	}
}

// addUnless is Add, unless something says no in the same moment. It is called with a lock held.
func (b *Bounded[K, V]) addUnless(k K, v V, no func() bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !no() {
		b.add(k, v)
	}
}

// update changes what is kept under k: change is given it, or the zero value, and gives what
// is kept from now on. It is called with a lock held.
func (b *Bounded[K, V]) update(k K, change func(V) V) V {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, _ := b.lru.Peek(k)
	v = change(v)
	b.add(k, v)
	return v
}

// Remove drops what is kept under k.
func (b *Bounded[K, V]) Remove(k K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.lru.Peek(k); ok {
		b.bytes -= b.cost(old)
		b.lru.Remove(k)
	}
}

// len counts what is kept.
func (b *Bounded[K, V]) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lru.Len()
}

// values calls each with what is kept.
func (b *Bounded[K, V]) values(each func(V)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, v := range b.lru.Values() {
		each(v)
	}
}

// table is the answers that were used last, a bounded number of them. It is safe for
// concurrent use.
type table[K comparable, V any] struct {
	size int // the most answers

	mu  sync.Mutex // guards lru
	lru *simplelru.LRU[K, V]
}

// newTable gives a table of so many answers.
func newTable[K comparable, V any](size int) *table[K, V] {
	return &table[K, V]{size: size, lru: newLRU[K, V](size, nil)}
}

func (t *table[K, V]) get(k K) (V, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lru.Get(k)
}

// peek is get that doesn't count as use.
func (t *table[K, V]) peek(k K) (V, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lru.Peek(k)
}

func (t *table[K, V]) set(k K, v V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lru.Add(k, v)
}

// update changes the answer for k: change is given the last one, or ok = false, and gives the
// new one, or keep = false for none. It is called with a lock held.
func (t *table[K, V]) update(k K, change func(v V, ok bool) (changed V, keep bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, ok := t.lru.Peek(k)
	if v, keep := change(v, ok); keep {
		t.lru.Add(k, v)
	} else if ok {
		t.lru.Remove(k)
	}
}

func (t *table[K, V]) remove(k K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lru.Remove(k)
}

func (t *table[K, V]) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lru.Len()
}

// full says whether an answer was dropped for want of room, or may be at any moment.
func (t *table[K, V]) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lru.Len() == t.size
}

// each calls do with all answers, the oldest first, until it says no. A lock is held.
func (t *table[K, V]) each(do func(K, V) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.lru.Keys() {
		if v, ok := t.lru.Peek(k); ok && !do(k, v) {
			return
		}
	}
}
