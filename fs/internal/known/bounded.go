package known

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Bounded keeps the values that were used last, up to a number of bytes. It counts bytes and not
// values, because a manifest or a list of tags may have two kilobytes or eight million bytes. A
// Bounded is safe for concurrent use.
type Bounded[K comparable, V any] struct {
	max  int         // in bytes
	cost func(V) int // the size of a value in bytes

	mu    sync.Mutex // guards the fields below
	lru   *simplelru.LRU[K, V]
	bytes int // the cost of all values
}

// NewBounded makes a Bounded of max bytes. cost gives the size of a value in bytes. It is called
// with a lock held.
func NewBounded[K comparable, V any](max int, cost func(V) int) *Bounded[K, V] {
	return &Bounded[K, V]{max: max, cost: cost, lru: newLRU[K, V](math.MaxInt, nil)}
}

// newLRU makes an LRU of a positive size. evicted is called with each value that is dropped; nil:
// no call.
func newLRU[K comparable, V any](size int, evicted func(K, V)) *simplelru.LRU[K, V] {
	l, err := simplelru.NewLRU[K, V](size, evicted)
	if err != nil {
		panic(err) // the size is positive
	}
	return l
}

// Get gives the value of k, or the zero value.
func (b *Bounded[K, V]) Get(k K) V {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, _ := b.lru.Get(k)
	return v
}

// Add stores v, and drops the values that were used longest ago. It always keeps at least one
// value, however large that is.
func (b *Bounded[K, V]) Add(k K, v V) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(k, v)
}

// add is Add for callers that hold mu.
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

// addUnless stores v, unless no says yes at the same moment. no is called with a lock held.
func (b *Bounded[K, V]) addUnless(k K, v V, no func() bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !no() {
		b.add(k, v)
	}
}

// update changes the value of k. change gets the value, or the zero value, and gives the new one.
// change is called with a lock held.
func (b *Bounded[K, V]) update(k K, change func(V) V) V {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, _ := b.lru.Peek(k)
	v = change(v)
	b.add(k, v)
	return v
}

// Remove drops the value of k.
func (b *Bounded[K, V]) Remove(k K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, ok := b.lru.Peek(k); ok {
		b.bytes -= b.cost(old)
		b.lru.Remove(k)
	}
}

// len counts the values.
func (b *Bounded[K, V]) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lru.Len()
}

// values calls each with every value. A lock is held.
func (b *Bounded[K, V]) values(each func(V)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, v := range b.lru.Values() {
		each(v)
	}
}

// table keeps the answers that were used last, up to a number of answers. It is safe for
// concurrent use.
type table[K comparable, V any] struct {
	size int // the largest number of answers

	mu  sync.Mutex // guards lru
	lru *simplelru.LRU[K, V]
}

// newTable makes a table of size answers.
func newTable[K comparable, V any](size int) *table[K, V] {
	return &table[K, V]{size: size, lru: newLRU[K, V](size, nil)}
}

func (t *table[K, V]) get(k K) (V, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lru.Get(k)
}

// peek is get without counting as a use.
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

// update changes the answer for k. change gets the last one, or ok = false. change gives the new one,
// or keep = false to remove it, and is called with a lock held.
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

// full says whether an answer may have been dropped for lack of room.
func (t *table[K, V]) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lru.Len() == t.size
}

// each calls do with the answers, the oldest first, until do gives false. A lock is held.
func (t *table[K, V]) each(do func(K, V) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.lru.Keys() {
		if v, ok := t.lru.Peek(k); ok && !do(k, v) {
			return
		}
	}
}
