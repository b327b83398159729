package known

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ocifs/ocifs/registry/ref"
)

// visits has the repositories of which this mount saw something, as many as were seen last. It is
// safe for concurrent use.
type visits struct {
	mu     sync.Mutex // guards the fields below
	seen   *simplelru.LRU[ref.Repository, Answer]
	byHost map[string]paths // the paths of all in seen, by host
}

func newVisits() *visits {
	v := &visits{byHost: map[string]paths{}}
	v.seen = newLRU(maxVisited, func(r ref.Repository, _ Answer) { v.drop(r) })
	return v
}

// drop removes a repository from byHost, because it isn't in seen any more. mu is held.
func (v *visits) drop(r ref.Repository) {
	ps := v.byHost[r.Host]
	if ps.remove(r.Path); len(ps) == 0 {
		delete(v.byHost, r.Host)
		return
	}
	v.byHost[r.Host] = ps
}

// set notes that something of a repository was seen.
func (v *visits) set(r ref.Repository, a Answer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.seen.Contains(r) {
		ps := v.byHost[r.Host]
		ps.insert(r.Path)
		v.byHost[r.Host] = ps
	}
	v.seen.Add(r, a)
}

// deny notes that the registry denied a repository. Listings that named it still do, because it
// can be entered all the same.
func (v *visits) deny(r ref.Repository, a Answer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen.Contains(r) {
		v.seen.Add(r, a)
	}
}

// get gives the last answer of the registry on a repository. It gives no denial, because a
// repository may be made at any time.
func (v *visits) get(r ref.Repository) Answer {
	v.mu.Lock()
	defer v.mu.Unlock()
	a, _ := v.seen.Get(r)
	if !a.Known() {
		return Answer{}
	}
	return a
}

// showOn gives the last answer on a repository whose registry is out of reach. tell says that a
// person must be told.
func (v *visits) showOn(r ref.Repository, now time.Time) (a Answer, tell bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	a, _ = v.seen.Get(r)
	if !a.Known() {
		return Answer{}, false
	}
	tell = a.showOn(now)
	v.seen.Add(r, a)
	return a, tell
}

// below gives the components directly below a directory of a host.
func (v *visits) below(host, dir string) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Collect(v.byHost[host].below(dir))
}

// hosts gives the hosts of the repositories.
func (v *visits) hosts() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Collect(maps.Keys(v.byHost))
}

func (v *visits) len() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seen.Len()
}
