package fs

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
)

// controlDir is .ocifs/: files about the mount itself, for a person or a program.
//
// The files change, and an inode has the same bytes for as long as it lives: errors.jsonl
// alone grows, see errorLog; the others are replaced, see replacedFile. The size of an inode
// is the same for all who look at it. The kernel looks up a name each time that it is used.
type controlDir struct {
	place
	files map[string]func() file // gives the file that a name means now
}

func (t *Tree) controlDir(at place) *controlDir {
	d := &controlDir{at, map[string]func() file{}}
	for name, render := range map[string]func() []byte{
		"version":        func() []byte { return []byte("ocifs " + t.opts.Version + "\n") },
		"config.json":    func() []byte { return indented(t.opts.Config) },
		"transfers.json": func() []byte { return indented(t.transfers()) },
		"uploads.json":   func() []byte { return indented(t.uploads()) },
	} {
		d.files[name] = (&replacedFile{place: at.at(name), render: render}).now
	}
	// Figures such as the size of the heap change by being looked at: tar and cp stat a file,
	// open it, and compare.
	stats := func() []byte { return indented(t.stats()) }
	d.files["stats.json"] = (&replacedFile{place: at.at("stats.json"), render: stats, keep: time.Second}).now
	d.files["errors.jsonl"] = func() file { return t.failures.text.file(at.at("errors.jsonl")) }
	return d
}

func (d *controlDir) stat() stat { return d.dirStat("") }

func (d *controlDir) lookup(_ context.Context, name string) (child, error) {
	now, ok := d.files[name]
	if !ok {
		return child{}, errNotExist
	}
	return child{name, now(), 0}, nil
}

func (d *controlDir) list(context.Context) (listing, error) {
	var cs []child
	for name, now := range d.files {
		cs = append(cs, child{name, now(), 0})
	}
	return listChildren(cs), nil
}

// replacedFile is a control file that is written anew as a whole, as by a program that
// renames the new one over the old one: who opened it reads it to its end as it was, and
// its name means the new one from then on. It is safe for concurrent use.
type replacedFile struct {
	place
	render func() []byte
	keep   time.Duration // how long an edition stays the one of now, whatever changes

	mu   sync.Mutex
	last *edition // the one that now gave last, or nil; guarded by mu
}

// edition is a replacedFile while it has the same bytes. Editions have one inode number:
// cp compares it before and after it opens a file.
type edition struct {
	small
	number uint64
}

func (e *edition) stat() stat {
	st := e.small.stat()
	st.gen += e.number
	return st
}

// now gives the edition of this moment: the last one, unless the bytes have changed.
func (f *replacedFile) now() file {
	if last := f.recent(); last != nil {
		return last
	}
	b := f.render()
	f.mu.Lock()
	defer f.mu.Unlock()
	number := uint64(0)
	if f.last != nil {
		if bytes.Equal(f.last.bytes, b) {
			return f.last
		}
		number = f.last.number + 1
	}
	f.last = &edition{small{f.place, b, "", time.Now()}, number}
	return f.last
}

// recent gives the last edition, as long as it is kept.
func (f *replacedFile) recent() file {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last != nil && time.Since(f.last.mtime) < f.keep {
		return f.last
	}
	return nil
}

func indented(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil { // made of plain values by ourselves
		panic(err)
	}
	return append(b, '\n')
}

// stats is .ocifs/stats.json.
func (t *Tree) stats() map[string]any {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.mu.Lock()
	repositories := len(t.seen)
	t.mu.Unlock()
	uploads := map[string]int{}
	for _, r := range t.uploads() {
		uploads[r.State]++
	}
	return map[string]any{
		"version":      t.opts.Version,
		"pid":          syscall.Getpid(),
		"started":      t.started.UTC(),
		"passthrough":  t.through.Load(),
		"repositories": repositories,
		"goroutines":   runtime.NumGoroutine(),
		"heap_bytes":   m.HeapAlloc,
		"panics":       t.panics.Load(),
		"errors":       t.failures.count(),
		"cache":        t.store.Stats(),
		"uploads":      uploads, // by state
		"hosts":        t.hostStates(),
	}
}

// hostStates is how the registries are doing that were asked, by host.
func (t *Tree) hostStates() map[string]registry.HostState {
	states := map[string]registry.HostState{}
	for _, s := range t.client.Hosts() {
		states[s.Host] = s
	}
	return states
}

// transfers is .ocifs/transfers.json: the downloads and the uploads under way.
func (t *Tree) transfers() []any {
	ts := []any{} // an array also where there are none
	for _, d := range t.store.Transfers() {
		ts = append(ts, d)
	}
	if t.area != nil {
		for _, u := range t.area.Transfers() {
			ts = append(ts, u)
		}
	}
	return ts
}

// uploads is .ocifs/uploads.json: what was pushed, or wasn't, and why.
func (t *Tree) uploads() []upload.Record {
	if t.area == nil {
		return []upload.Record{}
	}
	return t.area.Records()
}
