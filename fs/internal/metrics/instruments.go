package metrics

import (
	"iter"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Histogram counts durations by their length. It is safe for concurrent use, without a lock.
type Histogram struct {
	bounds []time.Duration // the largest duration of each bucket, in order
	counts []atomic.Int64  // of each bucket, and of what is longer than all bounds
	sum    atomic.Int64    // of all durations, in nanoseconds
}

// NewHistogram makes a histogram with these bounds, in order.
func NewHistogram(bounds ...time.Duration) *Histogram {
	return &Histogram{bounds: bounds, counts: make([]atomic.Int64, len(bounds)+1)}
}

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(h.bounds) && d > h.bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Count gives how many durations were counted.
func (h *Histogram) Count() (n int64) {
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}

// Sum gives the sum of all durations.
func (h *Histogram) Sum() time.Duration { return time.Duration(h.sum.Load()) }

// Vec has one instrument for each set of label values. It is safe for concurrent use.
type Vec[K comparable, V any] struct {
	create func() *V

	mu sync.RWMutex // guards of; no other lock is taken under it
	of map[K]*V
}

// NewVec makes a Vec, whose instruments create makes.
func NewVec[K comparable, V any](create func() *V) *Vec[K, V] {
	return &Vec[K, V]{create: create, of: map[K]*V{}}
}

// At gives the instrument for a set of label values, and makes it the first time.
func (v *Vec[K, V]) At(k K) *V {
	v.mu.RLock()
	x := v.of[k]
	v.mu.RUnlock()
	if x != nil {
		return x
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if x = v.of[k]; x == nil {
		x = v.create()
		v.of[k] = x
	}
	return x
}

// All gives the instruments that there are now, by their label values.
func (v *Vec[K, V]) All() iter.Seq2[K, *V] {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return maps.All(maps.Clone(v.of))
}

// Other is the label value that stands for all names beyond the bound of Names.
const Other = "other"

// Names bounds the values of a label that others choose, such as the hosts where a registry leads.
// The names that come first keep theirs. Reserved names have places of their own. It is safe for
// concurrent use.
type Names struct {
	max int // places of reserved names, and as many of others

	mu       sync.RWMutex    // guards the fields below; no other lock is taken under it
	kept     map[string]bool // the names that have a place; true: it is reserved
	reserved int             // counts the reserved names
}

// NewNames makes Names of which max keep their own value, and as many reserved ones.
func NewNames(max int) *Names { return &Names{max: max, kept: map[string]bool{}} }

// Reserve gives a name a place that no other names can take. Without a free one it does nothing.
func (n *Names) Reserve(name string) {
	n.mu.RLock()
	reserved, full := n.kept[name], n.reserved >= n.max
	n.mu.RUnlock()
	if reserved || full {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.kept[name] && n.reserved < n.max {
		n.kept[name] = true
		n.reserved++
	}
}

// Label gives the label value of a name: itself or Other.
func (n *Names) Label(name string) string {
	n.mu.RLock()
	_, kept := n.kept[name]
	full := n.isFull()
	n.mu.RUnlock()
	switch {
	case kept:
		return name
	case full:
		return Other
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, kept := n.kept[name]; kept {
		return name
	}
	if n.isFull() {
		return Other
	}
	n.kept[name] = false
	return name
}

// isFull says whether no place is left for a name that isn't reserved. mu is held.
func (n *Names) isFull() bool { return len(n.kept)-n.reserved >= n.max }
