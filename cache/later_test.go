package cache

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// unsynced keeps the syncs of a store's blobs from ending until what it gives is called.
func unsynced(t *testing.T) (synced func()) {
	let := make(chan struct{})
	synced = sync.OnceFunc(func() { close(let) })
	hook(t, "synced", func() { <-let })
	return synced
}

// put puts b, after others if the disk is behind.
func put(s *Store, d digest.Digest, b []byte) error {
	for {
		if err := s.Put(d, b); !errors.Is(err, ErrBehind) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// A blob that was put is there at once, for Open, Get and another Put. The blob has its name when it is synced.
func TestPutDoesntWaitForTheDisk(t *testing.T) {
	synced := unsynced(t)
	s := open(t, t.TempDir(), Options{})
	t.Cleanup(synced)
	b := content(1, 1000)
	d := digest.FromBytes(b)
	for range 2 {
		if err := s.Put(d, b); err != nil {
			t.Fatal(err)
		}
	}
	if named := files(t, s.blobs()); len(named) != 0 {
		t.Errorf("it has its name before it is synced: %q", named)
	}
	f, err := s.Open(d, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	holds(t, f, b)
	src := &source{b: b}
	g, err := s.Get(t.Context(), src.want())
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	holds(t, g, b)
	if n := src.fetches.Load(); n != 0 {
		t.Errorf("it was fetched %d times", n)
	}
	if f, err := s.Open(d, 999); err == nil {
		_ = f.Close()
		t.Error("it is opened with another size")
	}
	synced()
	settled(t, s)
	if named := files(t, s.blobs()); len(named) != 1 {
		t.Errorf("it has no name afterwards: %q", named)
	}
	if left := files(t, s.partials()); len(left) != 0 {
		t.Errorf("left over: %q", left)
	}
}

// A blob that was adopted is there at once, and its file is no longer where it was.
func TestAdoptDoesntWaitForTheDisk(t *testing.T) {
	synced := unsynced(t)
	s := open(t, t.TempDir(), Options{})
	t.Cleanup(synced)
	b := content(1, 1000)
	d := digest.FromBytes(b)
	for range 2 {
		path := stage(t, s, b)
		if err := s.Adopt(d, 1000, path); err != nil {
			t.Fatal(err)
		}
		if exists(path) {
			t.Error("the file is still where it was")
		}
	}
	f, err := s.Open(d, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	holds(t, f, b)
	if named := files(t, s.blobs()); len(named) != 0 {
		t.Errorf("it has its name before it is synced: %q", named)
	}
	synced()
	settled(t, s)
	if named, left := files(t, s.blobs()), files(t, s.partials()); len(named) != 1 || len(left) != 0 {
		t.Errorf("afterwards there are %q, and %q", named, left)
	}
}

// Another process has it as well, if its bytes are right: a crash may have left others there, and who
// else looks at those may have them locked in that moment.
func TestWhatWaitsForTheDiskIsInAllProcesses(t *testing.T) {
	synced := unsynced(t)
	dir := t.TempDir()
	s := open(t, dir, Options{})
	t.Cleanup(synced)
	another := open(t, dir, Options{})
	b, left := content(1, 1000), content(2, 1000)
	if err := s.Put(digest.FromBytes(b), b); err != nil {
		t.Fatal(err)
	}
	damaged, err := os.Create(s.laterName(digest.FromBytes(left)))
	if err != nil {
		t.Fatal(err)
	}
	defer damaged.Close()
	if err := damaged.Truncate(1000); err != nil {
		t.Fatal(err)
	}
	if err := tryLock(damaged); err != nil {
		t.Fatal(err)
	}
	f, err := another.Open(digest.FromBytes(b), 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f, err := another.Open(digest.FromBytes(left), 1000); err == nil {
		_ = f.Close()
		t.Error("what a power cut damaged is shown")
	}
	synced()
	settled(t, s)
	holds(t, f, b)
	if named := files(t, s.blobs()); len(named) != 1 {
		t.Errorf("%q", named)
	}
}

// No more than maxLater wait for the disk. What is put beyond them isn't kept, and what is adopted waits
// for its turn. All others are kept when the store is closed.
func TestNoMoreThanSomePutsWaitForTheDisk(t *testing.T) {
	synced := unsynced(t)
	s := open(t, t.TempDir(), Options{})
	t.Cleanup(synced)
	put := func(i int) error {
		b := fmt.Appendf(nil, "small %d", i)
		return s.Put(digest.FromBytes(b), b)
	}
	for i := range maxLater {
		if err := put(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(maxLater); !errors.Is(err, ErrBehind) {
		t.Errorf("one more: %v", err)
	}
	b := content(1, 1000)
	path := stage(t, s, b)
	adopted := make(chan error)
	go func() { adopted <- s.Adopt(digest.FromBytes(b), 1000, path) }()
	select {
	case err := <-adopted:
		t.Fatalf("an adoption doesn't wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	synced()
	if err := <-adopted; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(files(t, s.blobs())); n != maxLater+1 {
		t.Errorf("%d are kept", n)
	}
	if err := put(maxLater + 1); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

// A store may be closed, and its process end, before the disk has what was put. It is named then, and the
// sentinel puts it in doubt.
func TestWhatWaitsForTheDiskIsNamedAtTheEnd(t *testing.T) {
	synced := unsynced(t)
	dir := t.TempDir()
	s := open(t, dir, Options{})
	t.Cleanup(synced)
	b := content(1, 1000)
	if err := s.Put(digest.FromBytes(b), b); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	eventually(t, "it has its name", func() bool { return s.placed(digest.FromBytes(b), 1000) })
	if alive := files(t, s.alive()); len(alive) != 1 {
		t.Errorf("sentinels before the sync has ended: %q", alive)
	}
	synced()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if alive, left := files(t, s.alive()), files(t, s.partials()); len(alive) != 0 || len(left) != 0 {
		t.Errorf("afterwards there are %q, and %q", alive, left)
	}
	f, err := open(t, dir, Options{}).Open(digest.FromBytes(b), 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	holds(t, f, b)
}

// A blob that is demoted while it waits for the disk goes first, like one that is demoted in its place.
func TestABlobThatIsDemotedBeforeItHasItsPlaceGoesFirst(t *testing.T) {
	for name, keep := range map[string]func(s *Store, d digest.Digest, b []byte) error{
		"put":     (*Store).Put,
		"adopted": func(s *Store, d digest.Digest, b []byte) error { return s.Adopt(d, int64(len(b)), stage(t, s, b)) },
	} {
		t.Run(name, func(t *testing.T) {
			then := atStep(t, "synced")
			s := openScanned(t, t.TempDir(), Options{})
			ds := agedBlobs(t, s, 2)
			settled(t, s)
			b := content(9, 10_000)
			d := digest.FromBytes(b)
			demote := func() { s.Demote(d) }
			then.Store(&demote)
			if err := keep(s, d, b); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it has its place", func() bool { return s.Stats().Open == 0 })
			s.evict(1)
			if is := left(t, s, append(ds, d)); !slices.Equal(is, []int{0, 1}) {
				t.Errorf("left are %v", is)
			}
		})
	}
}
