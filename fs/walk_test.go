package fs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// walked is a tree that is walked without a kernel.
type walked struct {
	*Tree
	t    *testing.T
	host string // as the tree spells it
}

// walk makes a tree of all registries for which nothing that a registry says of tags
// and lists lasts, unless o has it otherwise.
func walk(t *testing.T, s *registrytest.Server, cacheDir string, o Options) *walked {
	t.Helper()
	store, err := cache.Open(cacheDir, cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	client := registry.New(registry.Options{PlainHTTP: []string{s.Host}, RetryMaxWait: 1})
	o.Client, o.Store = client, store
	if o.TagTTL == 0 {
		o.TagTTL = 1
	}
	if o.ListTTL == 0 {
		o.ListTTL = 1
	}
	tree, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(context.Background()); err != nil { // the test's own has ended
			t.Error(err)
		}
		client.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &walked{tree, t, hostName(s.Host)}
}

// walkAt is walk without options.
func walkAt(t *testing.T, s *registrytest.Server, cacheDir string) *walked {
	t.Helper()
	return walk(t, s, cacheDir, Options{})
}

// to walks along a path below the host.
func (w *walked) to(path string) (entry, error) {
	at := entry(w.root)
	for name := range strings.SplitSeq(strings.TrimSuffix(w.host+"/"+path, "/"), "/") {
		ctx, cancel := w.bound(w.t.Context())
		c, err := at.(directory).lookup(ctx, name)
		cancel()
		if err != nil {
			return nil, err
		}
		at = c.entry
	}
	return at, nil
}

// shows gives what is at a path: the names in a directory, or the bytes of a file.
func (w *walked) shows(path string) (string, error) {
	e, err := w.to(path)
	if err != nil {
		return "", err
	}
	switch e := e.(type) {
	case directory:
		l, err := e.list(w.t.Context())
		return strings.Join(l.names, " "), err
	case file:
		c, err := e.open(w.t.Context())
		if err != nil {
			return "", err
		}
		defer c.close()
		b := make([]byte, e.stat().size)
		n, err := c.readAt(w.t.Context(), b, 0)
		return string(b[:n]), err
	}
	return e.(symlink).target(), nil
}

// want checks what is at a path.
func (w *walked) want(path, want string) {
	w.t.Helper()
	if got, err := w.shows(path); got != want || err != nil {
		w.t.Errorf("%s shows %q, %v; want %q", path, got, err, want)
	}
}

// fails checks with what a path can't be shown.
func (w *walked) fails(path string, want error) {
	w.t.Helper()
	if got, err := w.shows(path); !errors.Is(err, want) {
		w.t.Errorf("%s shows %q, %v; want %v", path, got, err, want)
	}
}

// told gives the paths of which errors.jsonl says that what was known is shown, each
// as often as it does.
func (w *walked) told() map[string]int {
	told := map[string]int{}
	for line := range bytes.Lines(w.failures.jsonl()) {
		var f failure
		if err := json.Unmarshal(line, &f); err != nil {
			w.t.Fatal(err)
		}
		if strings.HasPrefix(f.Cause, "showing ") {
			if f.Errno != errnoName(remoteIO) || f.Hint == "" || f.Op == "" {
				w.t.Errorf("told: %+v", f)
			}
			told[strings.TrimPrefix(f.Path, w.host)]++
		}
	}
	return told
}

// ages has the time be over of all that is believed.
func (w *walked) ages() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, b := range w.seen {
		b.expires = time.Time{}
		w.seen[name] = b
	}
	for _, h := range w.hosts {
		h.mu.Lock()
		h.last.expires, h.failed = time.Time{}, time.Time{}
		h.mu.Unlock()
	}
	for _, r := range w.repositories {
		r.mu.Lock()
		r.names.expires, r.refusal = time.Time{}, refusal{}
		for tag, p := range r.tags {
			p.shown = time.Time{}
			r.tags[tag] = p
		}
		r.mu.Unlock()
		for _, o := range r.known.lru.Keys() {
			p, _ := r.known.told(o)
			p.expires = time.Now().Add(-time.Minute)
			r.known.lru.Add(o, p)
		}
	}
	for _, k := range w.closures.Keys() {
		c, _ := w.closures.Peek(k)
		aged := *c
		aged.expires = time.Time{}
		w.closures.Add(k, &aged)
	}
	for _, s := range w.referrers.kept.lru.Keys() {
		rs := w.referrers.kept.get(s)
		rs.expires = time.Time{}
		w.referrers.kept.add(s, rs)
	}
}

// oneLayer puts an image of one layer into a repository under a tag, and gives its
// manifest.
func oneLayer(t *testing.T, s *registrytest.Server, repo, tag, layer string) *registry.Manifest {
	t.Helper()
	d := s.Image(repo, tag, []byte(layer))
	m, err := registry.ParseManifest(s.ReadManifest(repo, d.String()), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return m
}
