package upload

import (
	"cmp"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
)

// maxRecords is how many pushes in state Pushed are remembered at most. Records in other
// states are all remembered.
const maxRecords = 1000

// records holds what became of the pushes. It is safe for concurrent use.
type records struct {
	now func() time.Time // Options.Now

	// mu guards the fields below. Nobody holds it over I/O, and no other lock is taken
	// under it.
	mu        sync.Mutex
	of        map[recordKey]Record
	leftovers []leftover // what earlier mounts left
	pushed    int        // counts the records of state Pushed
}

// leftover is a record of bytes on the disk. It is listed as long as something is at path.
type leftover struct {
	Record
	path string
}

type recordKey struct{ repository, target string }

func keyOf(repo ref.Repository, target string) recordKey {
	return recordKey{repo.String(), target}
}

// set records the state of a push.
func (rs *records) set(repo ref.Repository, target, state, text string) {
	rs.put(repo, Record{Target: target, State: state, Error: text})
}

// setBroken records that a write failed, so that nothing is pushed.
func (rs *records) setBroken(repo ref.Repository, target, text string) {
	rs.put(repo, Record{Target: target, State: Failed, Error: text, Broken: true})
}

// put records what became of a push to a repository, at this time.
func (rs *records) put(repo ref.Repository, r Record) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r.Repository, r.Time = repo.String(), rs.now().UTC()
	k := keyOf(repo, r.Target)
	if rs.of == nil {
		rs.of = map[recordKey]Record{}
	}
	if rs.of[k].State == Pushed {
		rs.pushed--
	}
	rs.of[k] = r
	if r.State != Pushed {
		return
	}
	rs.pushed++
	if rs.pushed > maxRecords {
		rs.trim()
	}
}

// trim drops the older half of the records in state Pushed. mu is held.
func (rs *records) trim() {
	var done []recordKey
	for k, r := range rs.of {
		if r.State == Pushed {
			done = append(done, k)
		}
	}
	slices.SortFunc(done, func(a, b recordKey) int { return rs.of[a].Time.Compare(rs.of[b].Time) })
	for _, k := range done[:len(done)/2] {
		delete(rs.of, k)
	}
	rs.pushed -= len(done) / 2
}

// reasons gives the error text of each push that waits or failed.
func (rs *records) reasons() map[recordKey]string {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	texts := map[recordKey]string{}
	for k, r := range rs.of {
		if r.State == Waiting || r.State == Failed {
			texts[k] = r.Error
		}
	}
	return texts
}

// drop drops the record of a target if it is in the given state.
func (rs *records) drop(repo ref.Repository, target, state string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if k := keyOf(repo, target); rs.of[k].State == state {
		delete(rs.of, k)
	}
}

// found adds what an earlier mount left.
func (rs *records) found(l leftover) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.leftovers = append(rs.leftovers, l)
}

func (rs *records) all() []Record {
	all, leftovers := rs.copy()
	for _, l := range leftovers {
		if _, err := os.Lstat(l.path); err == nil {
			all = append(all, l.Record)
		}
	}
	slices.SortFunc(all, func(a, b Record) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Target, b.Target))
	})
	return all
}

// copy gives the records of this mount, and what earlier mounts left.
func (rs *records) copy() ([]Record, []leftover) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	all := make([]Record, 0, len(rs.of)+len(rs.leftovers))
	for _, r := range rs.of {
		all = append(all, r)
	}
	return all, slices.Clone(rs.leftovers)
}

// record notes the result of a push. A success also goes to the journal, so that it survives
// a crash.
func (a *Area) record(repo ref.Repository, target string, err error) {
	if err != nil {
		a.records.set(repo, target, Failed, err.Error())
		return
	}
	a.records.set(repo, target, Pushed, "")
	a.noted(repo, target)
}

// transfers holds the uploads under way. It is safe for concurrent use.
type transfers struct {
	mu sync.Mutex // guards m; no other lock is taken under it
	m  map[*transfer]bool
}

type transfer struct {
	blob    Blob
	started time.Time
	sent    atomic.Int64
	size    atomic.Int64 // of the blob, or of its bytes written so far
}

func (ts *transfers) begin(b Blob, now time.Time) *transfer {
	t := &transfer{blob: b, started: now.UTC()}
	t.size.Store(b.Size)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.m == nil {
		ts.m = map[*transfer]bool{}
	}
	ts.m[t] = true
	return t
}

func (ts *transfers) end(t *transfer) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.m, t)
}

func (ts *transfers) all() []Transfer {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	all := []Transfer{}
	for t := range ts.m {
		all = append(all, Transfer{"upload", t.blob.Digest, t.blob.Repository.String(), t.sent.Load(), t.size.Load(), t.started})
	}
	slices.SortFunc(all, func(a, b Transfer) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Digest, b.Digest))
	})
	return all
}
