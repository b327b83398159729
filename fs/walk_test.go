package fs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// walked is a tree that is walked without a kernel.
type walked struct {
	*Tree
	t    *testing.T
	host string // as the tree spells it
	// passed is how far the tree's clock is ahead, in nanoseconds.
	passed *atomic.Int64
}

// walk makes a tree of all registries for which nothing that a registry says of tags
// and lists lasts, unless o has it otherwise.
func walk(t *testing.T, s *registrytest.Server, cacheDir string, o Options) *walked {
	t.Helper()
	store, err := cache.Open(cacheDir, cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Traffic = NewTraffic()
	client := registry.New(registry.Options{PlainHTTP: []string{s.Host}, RetryMaxWait: 1, Observer: o.Traffic})
	o.Client, o.Store = client, store
	if o.TagTTL == 0 {
		o.TagTTL = 1
	}
	if o.ListTTL == 0 {
		o.ListTTL = 1
	}
	passed := new(atomic.Int64)
	o.now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
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
	return &walked{tree, t, hostName(s.Host), passed}
}

// walkAt is walk without options.
func walkAt(t *testing.T, s *registrytest.Server, cacheDir string) *walked {
	t.Helper()
	return walk(t, s, cacheDir, Options{})
}

// to walks along a path below the host.
func (w *walked) to(path string) (node.Entry, error) {
	at := node.Entry(w.root)
	for name := range strings.SplitSeq(strings.TrimSuffix(w.host+"/"+path, "/"), "/") {
		ctx, cancel := context.WithTimeout(w.t.Context(), w.opts.LookupBound)
		c, err := at.(node.Directory).Lookup(ctx, name)
		cancel()
		if err != nil {
			return nil, err
		}
		at = c.Entry
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
	case node.Directory:
		l, err := e.List(w.t.Context())
		return strings.Join(l.Names, " "), err
	case node.File:
		c, err := e.Open(w.t.Context(), caller.Caller{})
		if err != nil {
			return "", err
		}
		defer c.Close()
		b := make([]byte, e.Attr().Size)
		n, err := c.ReadAt(w.t.Context(), caller.Caller{}, b, 0)
		return string(b[:n]), err
	}
	return e.(node.Symlink).Target(), nil
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
	for line := range bytes.Lines(w.jsonl()) {
		var f node.Failure
		if err := json.Unmarshal(line, &f); err != nil {
			w.t.Fatal(err)
		}
		if strings.HasPrefix(f.Cause, "showing ") {
			if f.Errno != node.ErrnoName(remoteIO) || f.Hint == "" || f.Op == "" {
				w.t.Errorf("told: %+v", f)
			}
			told[strings.TrimPrefix(f.Path, w.host)]++
		}
	}
	return told
}

// ages has the time be over of all that is believed.
func (w *walked) ages() { w.passed.Add(int64(2 * time.Hour)) }

// jsonl is the text of errors.jsonl.
func (w *walked) jsonl() []byte {
	log := w.kernel.Failures().Log()
	start := log.Start()
	size, _, _ := log.From(start)
	b := make([]byte, size)
	n, _ := log.ReadAt(b, start)
	return b[:n]
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
