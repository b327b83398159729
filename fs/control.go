package fs

import (
	"context"
	"encoding/json"
	"runtime"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
)

// controlDir is .ocifs/: what a person or a program wants to know of the mount
// itself.
func (t *Tree) controlDir(at place) directory {
	d := &fixed{place: at, mtime: t.started}
	for name, make := range map[string]func() []byte{
		"version":        func() []byte { return []byte("ocifs " + t.opts.Version + "\n") },
		"config.json":    func() []byte { return indented(t.opts.Config) },
		"stats.json":     func() []byte { return indented(t.stats()) },
		"transfers.json": func() []byte { return indented(t.transfers()) },
		"uploads.json":   func() []byte { return indented(t.uploads()) },
		"errors.jsonl":   t.failures.jsonl,
	} {
		d.children = append(d.children, child{name, &controlFile{at.at(name), make}, forever})
	}
	return d
}

// controlFile is a file that is made anew each time it is opened.
type controlFile struct {
	place
	make func() []byte
}

// stat tells the size of this moment. The kernel keeps none of it.
func (f *controlFile) stat() stat {
	st := f.fileStat("", int64(len(f.make())), time.Now())
	st.ttl = 0
	return st
}

func (f *controlFile) open(context.Context) (content, error) {
	return &snapshot{f.make(), direct}, nil
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
