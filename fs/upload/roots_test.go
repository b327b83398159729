package upload

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// idleCount gives how many repositories the area knows of which nothing is staged, once those
// are gone that nobody holds.
func (b *bench) idleCount(want int) int {
	n := -1
	for range 200 {
		runtime.GC()
		b.area.mu.Lock()
		n = len(b.area.idle)
		b.area.mu.Unlock()
		if n == want {
			break
		}
		time.Sleep(5 * time.Millisecond) // cleanups run behind the collector
	}
	return n
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Nothing is kept of repositories that were only looked at, be it their attributes or all of
// upload/.
func TestNothingIsKeptOfARepositoryThatWasOnlyLookedAt(t *testing.T) {
	b := newBench(t)
	b.top = nil
	if n := b.idleCount(0); n != 0 {
		t.Fatalf("%d repositories are known at the start", n)
	}
	const many = 20_000
	repo := func(n int) ref.Repository { return ref.Repository{Host: b.s.Host, Path: fmt.Sprint("r/", n)} }
	before := heap()
	for n := range many {
		attr, id := b.area.Top(repo(n))
		if want := (Attr{Mode: 0o755, UID: b.area.uid, GID: b.area.gid}); attr != want || id != 1 {
			t.Fatalf("upload/ has %+v and the number %d", attr, id)
		}
	}
	if n := len(b.area.idle) + len(b.area.roots); n != 0 {
		t.Errorf("attributes made %d repositories", n)
	}
	for n := range many {
		top := b.area.Root(repo(n))
		attr, id := b.area.Top(repo(n))
		if top.Attr() != attr || top.ID() != id || len(top.List()) != 4 {
			t.Fatalf("upload/ has %+v and %d, where %+v and %d were told", top.Attr(), top.ID(), attr, id)
		}
	}
	if n := b.idleCount(0); n != 0 || len(b.area.roots) != 0 {
		t.Errorf("%d idle repositories are kept, and %d others", n, len(b.area.roots))
	}
	if each := (heap() - before) / many; each > 20 {
		t.Errorf("%d bytes are kept of each repository", each)
	}
}

// All who hold something of upload/ see the same one, and one of which something is staged or
// changed stays when nobody does.
func TestARepositoryIsOneForAllWhoHoldIt(t *testing.T) {
	b := newBench(t)
	r := func(path string) ref.Repository { return ref.Repository{Host: b.s.Host, Path: path} }
	blobs, err := b.area.Root(r("held")).Lookup(t.Context(), "blobs")
	b.ok(err)
	runtime.GC()
	runtime.GC()
	if again, err := b.area.Root(r("held")).Lookup(t.Context(), "blobs"); again != blobs || err != nil {
		t.Errorf("another node stands for blobs/ while the first one is held: %v", err)
	}
	runtime.KeepAlive(blobs)

	func() {
		mode := uint32(0o700)
		b.ok(b.area.Root(r("changed")).Set(t.Context(), nil, Change{Mode: &mode}))
		_, h, err := b.area.Root(r("staged")).Create(t.Context(), "x.tmp", 0o644, Openly, nil)
		b.ok(err)
		h.Release()
	}()
	b.top, blobs = nil, nil
	if n := b.idleCount(0); n != 0 {
		t.Errorf("%d idle repositories are kept", n)
	}
	if attr, _ := b.area.Top(r("changed")); attr.Mode != 0o700 {
		t.Errorf("upload/ has the mode %o, want 0700", attr.Mode)
	}
	if _, err := b.area.Root(r("staged")).Lookup(t.Context(), "x.tmp"); err != nil {
		t.Errorf("what was staged is gone: %v", err)
	}
}

// A mount makes nothing on disk for who only looks and reads what the registry has.
func TestLookingMakesNothingOnDisk(t *testing.T) {
	b := newBench(t)
	d := digest.FromString("there")
	b.s.Blob(b.repo.Path, []byte("there"))
	n, err := b.dirAt("blobs/sha256").Lookup(t.Context(), d.Encoded())
	b.ok(err)
	if got, err := n.(*File).readAll(t.Context(), 100); string(got) != "there" || err != nil {
		t.Errorf("it reads %q, %v", got, err)
	}
	b.top.Attr()
	if made, _ := filepath.Glob(filepath.Join(b.dir, "*")); len(made) != 0 {
		t.Errorf("made %q", made)
	}
}

// The digests that are remembered as pushed are bounded.
func TestWhatTheRegistryHasIsRememberedWithinABound(t *testing.T) {
	now := time.Unix(1e9, 0)
	h := holdings{now: func() time.Time { return now }}
	name := func(n int) digest.Digest { return digest.FromString(fmt.Sprint(n)) }
	for n := range maxHeld + 1 {
		now = now.Add(time.Millisecond)
		h.add(name(n))
	}
	if n := len(h.until); n > maxHeld {
		t.Errorf("%d digests are remembered", n)
	}
	if h.has(name(0)) || !h.has(name(maxHeld)) {
		t.Error("the latest isn't remembered, or the first is")
	}
	now = now.Add(hasFor)
	if h.has(name(maxHeld)) {
		t.Error("it is believed for ever")
	}
}
