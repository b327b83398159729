package fs

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/prefetch"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
)

// controlDir is .ocifs/: files about the mount itself, for people and programs.
//
// The files change. But the kernel keeps one size for an inode, and doesn't say which open file
// it asks for. So an inode shows the same bytes at the same offsets to everybody: errors.jsonl
// only grows (see errorLogFile), and the other files are replaced (see replacedFile). The kernel
// looks a name up each time it is used. All inodes of a name have one inode number, for programs
// that compare it.
type controlDir struct {
	place
	files map[string]func() node.File // by name; gives the present file
}

func (t *Tree) controlDir(at place) *controlDir {
	d := &controlDir{at, map[string]func() node.File{}}
	for name, render := range map[string]func() []byte{
		"version":        func() []byte { return []byte("ocifs " + t.opts.Version + "\n") },
		"config.json":    func() []byte { return indented(t.opts.Config) },
		"transfers.json": func() []byte { return indented(t.transfers()) },
		"uploads.json":   func() []byte { return indented(t.uploads()) },
	} {
		d.files[name] = (&replacedFile{place: at.at(name), render: render}).now
	}
	// Some figures, such as the size of the heap, change whenever somebody looks at them. tar
	// and cp stat a file, open it, and compare.
	for name, render := range map[string]func() []byte{
		"stats.json": func() []byte { return indented(t.stats()) },
		"metrics":    t.metrics,
	} {
		d.files[name] = (&replacedFile{place: at.at(name), render: render, keep: time.Second}).now
	}
	d.files["errors.jsonl"] = func() node.File {
		log := t.kernel.Failures().Log()
		return &errorLogFile{at.at("errors.jsonl"), log, log.Start()}
	}
	return d
}

func (d *controlDir) Attr() node.Attr { return d.dirAttr("") }

func (d *controlDir) Lookup(_ context.Context, name string) (node.Child, error) {
	if name == prefetch.Name { // it isn't listed: no program reads it by chance
		return node.Child{Name: name, Entry: &prefetchFile{d.at(name)}}, nil
	}
	now, ok := d.files[name]
	if !ok {
		return node.Child{}, node.ErrNotExist
	}
	return node.Child{Name: name, Entry: now()}, nil
}

func (d *controlDir) List(context.Context) (node.Listing, error) {
	var cs []node.Child
	for name, now := range d.files {
		cs = append(cs, node.Child{Name: name, Entry: now()})
	}
	return node.List(cs), nil
}

// replacedFile is a control file that is replaced as a whole, as if a program renamed a new file
// over the old one. A program that has it open reads the old bytes to their end, and the name
// means the new file from then on. It is safe for concurrent use.
type replacedFile struct {
	place
	render func() []byte
	// keep is how long an edition that was looked at is kept for the next open, whatever
	// changes. After that open, the next look finds a new one. 0: it isn't kept.
	keep time.Duration

	mu       sync.Mutex // guards the fields below; no other lock is taken under it
	last     *edition   // the last result of now; nil: none
	rendered time.Time  // when render gave the bytes of last, most recently
}

// edition is one version of a replacedFile. Its bytes don't change.
type edition struct {
	small
	number uint64
	opened atomic.Bool // a program has opened it since it was rendered
}

func (e *edition) Open(ctx context.Context, by caller.Caller) (node.Content, error) {
	e.opened.Store(true)
	return e.small.Open(ctx, by)
}

func (e *edition) Attr() node.Attr {
	a := e.small.Attr()
	a.Gen += e.number
	return a
}

// now gives the present edition: the last one, unless the bytes have changed since.
func (f *replacedFile) now() node.File {
	if last := f.recent(); last != nil {
		return last
	}
	b := f.render()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rendered = f.tree.opts.now()
	number := uint64(0)
	if f.last != nil {
		if bytes.Equal(f.last.bytes, b) {
			f.last.opened.Store(false)
			return f.last
		}
		number = f.last.number + 1
	}
	f.last = &edition{small: small{f.place, b, "", f.rendered}, number: number}
	return f.last
}

// recent gives the last edition while it is kept; nil: it isn't.
func (f *replacedFile) recent() *edition {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil && !f.last.opened.Load() && f.tree.opts.now().Sub(f.rendered) < f.keep {
		return f.last
	}
	return nil
}

// errorLogFile is errors.jsonl. It starts at one line of the log, and grows at its end.
type errorLogFile struct {
	place
	log   *node.Log
	start int64 // the offset in the log, in bytes
}

// Attr gives the present size. The kernel doesn't cache it. Files that start at different lines
// have the same inode number: cp compares the number before and after it opens a file, and tail
// -F starts again if the number changes.
func (f *errorLogFile) Attr() node.Attr {
	size, changed, _ := f.log.From(f.start)
	if changed.IsZero() {
		changed = f.tree.started
	}
	a := f.fileAttr("", size, changed)
	a.Gen += uint64(f.start)
	a.TTL = 0
	return a
}

// Open fails with ESTALE if the first line isn't in memory any more. The kernel then looks the
// name up again.
func (f *errorLogFile) Open(context.Context, caller.Caller) (node.Content, error) {
	if _, _, whole := f.log.From(f.start); !whole {
		return nil, syscall.ESTALE
	}
	return f, nil
}

// ReadAt fails with ESTALE for lines that aren't in memory any more. A program that is so far
// behind ends with an error, and never gets bytes of another place.
func (f *errorLogFile) ReadAt(_ context.Context, _ caller.Caller, p []byte, off int64) (int, error) {
	n, lost := f.log.ReadAt(p, f.start+off)
	if lost {
		return 0, syscall.ESTALE
	}
	return n, nil
}

func (f *errorLogFile) Way() node.Way { return node.Way{Mode: node.Direct} }
func (f *errorLogFile) Close()        {}

func indented(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil { // it has only plain values of this package
		panic(err)
	}
	return append(b, '\n')
}

// held counts what the mount holds in memory.
type held struct {
	known.Held
	Nodes int64 `json:"nodes"` // inodes that the kernel holds
}

// stats makes .ocifs/stats.json.
func (t *Tree) stats() map[string]any {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h := held{t.known.Held(), t.kernel.Nodes()}
	return map[string]any{
		"version":      t.opts.Version,
		"pid":          syscall.Getpid(),
		"started":      t.started.UTC(),
		"passthrough":  t.kernel.PassesThrough(),
		"repositories": h.Repositories,
		"held":         h,
		"goroutines":   runtime.NumGoroutine(),
		"heap_bytes":   m.HeapAlloc,
		"panics":       t.kernel.Panics(),
		"errors":       t.kernel.Failures().Count(),
		"cache":        t.store.Stats(),
		"layers":       t.layers.Stats(),
		"prefetching":  t.sessions.count(), // programs for which something is brought
		"uploads":      t.uploadStates(),
		"hosts":        t.hostStates(),
	}
}

// hostStates gives the state of each registry that was asked, by host.
func (t *Tree) hostStates() map[string]registry.HostState {
	states := map[string]registry.HostState{}
	for _, s := range t.opts.Client.State() {
		states[s.Host] = s
	}
	return states
}

// transfers makes .ocifs/transfers.json: the downloads and uploads under way.
func (t *Tree) transfers() []any {
	ts := []any{} // so that the JSON is an array even if it is empty
	for _, d := range t.store.Transfers() {
		ts = append(ts, d)
	}
	for _, u := range t.uploading() {
		ts = append(ts, u)
	}
	return ts
}

// uploadStates counts the records of uploads by their state.
func (t *Tree) uploadStates() map[string]int {
	states := map[string]int{}
	for _, r := range t.uploads() {
		states[r.State]++
	}
	return states
}

// uploads makes .ocifs/uploads.json: the results of the pushes.
func (t *Tree) uploads() []upload.Record {
	if t.area == nil {
		return []upload.Record{}
	}
	return t.area.Records()
}
