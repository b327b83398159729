package fs

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// clocked are lists whose clock the test sets.
type clocked struct {
	*lists
	t    *testing.T
	time time.Time
}

func newClocked(t *testing.T, store *cache.Store, now time.Time) *clocked {
	c := &clocked{newLists(store, time.Minute, slog.New(slog.DiscardHandler)), t, now}
	c.lists.now = func() time.Time { return c.time }
	return c
}

func (c *clocked) saw(name listName, names ...string) {
	c.lists.saw(name, fingerprint(names), c.time.Add(time.Minute))
}

func (c *clocked) is(name listName, want time.Time) {
	c.t.Helper()
	if got, _ := c.shown(name); !got.Equal(want) {
		c.t.Errorf("%s has the time %v, want %v", name, got, want)
	}
}

func openStore(t *testing.T) *cache.Store {
	t.Helper()
	store, err := cache.Open(t.TempDir(), cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// A list has the time when it was first seen as it is, also after a remount; one that
// nobody has seen has epoch.
func TestAListHasTheTimeOfItsLastChange(t *testing.T) {
	store := openStore(t)
	start := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	c := newClocked(t, store, at(0))
	c.is("a b", epoch)
	c.saw("a b", "v1")
	c.saw("an empty one")
	c.time = at(1)
	c.saw("a b", "v1")
	c.saw("an empty one")
	c.is("a b", at(0))
	c.is("an empty one", at(0))
	c.saw("a b", "v1", "v2")
	c.is("a b", at(1))
	c.is("an empty one", at(0))

	c.time = at(2)
	c.change("a b")
	c.is("a b", at(2))
	c.time = at(3)
	c.saw("a b", "v1", "v2", "v3") // what the change led to
	c.is("a b", at(2))
	c.change("never listed")
	c.is("never listed", at(3))

	c = newClocked(t, store, at(4))
	c.is("a b", at(2))
	c.is("an empty one", at(0))
	c.is("never listed", at(3))
	c.saw("a b", "v1", "v2", "v3")
	c.is("a b", at(2))
	c.saw("an empty one", "v1") // it changed while nobody had it mounted
	c.is("an empty one", at(4))
}

// A time never goes back, whatever the clock does.
func TestTheTimeOfAListNeverGoesBack(t *testing.T) {
	store := openStore(t)
	now := time.Now()
	c := newClocked(t, store, now)
	c.saw("a b", "v1")
	for i := range 3 {
		before, _ := c.shown("a b")
		c.time = c.time.Add(-time.Hour)
		c.saw("a b", fmt.Sprint("new", i))
		if after, _ := c.shown("a b"); !after.After(before) {
			t.Errorf("it was %v and is %v", before, after)
		}
		if i == 1 {
			c = newClocked(t, store, c.time)
		}
	}
}

// The kernel keeps the time of a list for as long as the list is believed.
func TestTheKernelKeepsTheTimeOfAListForTheListsTime(t *testing.T) {
	store := openStore(t)
	c := newClocked(t, store, time.Now())
	keeps := func(want time.Duration) {
		t.Helper()
		if _, got := c.shown("a b"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	keeps(time.Minute)
	c.saw("a b", "v1")
	c.time = c.time.Add(20 * time.Second)
	keeps(40 * time.Second)
	c.time = c.time.Add(time.Minute)
	keeps(0)
	c = newClocked(t, store, c.time)
	keeps(0)
}

// The times of many lists are bounded in memory, and none is lost.
func TestTimesOfListsAreBoundedInMemory(t *testing.T) {
	c := newClocked(t, openStore(t), time.Now())
	first := c.time
	for i := range maxLists + 10 {
		c.saw(listName(fmt.Sprint("list ", i)), "v1")
		c.time = c.time.Add(time.Second)
	}
	if n := c.seen.Len(); n > maxLists {
		t.Errorf("%d are in memory", n)
	}
	for _, i := range []int{0, 5, maxLists + 9} {
		c.is(listName(fmt.Sprint("list ", i)), first.Add(time.Duration(i)*time.Second))
	}
}

// times gives the times of what is at paths.
func (w *walked) times(paths ...string) map[string]time.Time {
	w.t.Helper()
	times := map[string]time.Time{}
	for _, path := range paths {
		e, err := w.to(path)
		if err != nil {
			w.t.Fatalf("%s: %v", path, err)
		}
		times[path] = e.stat().mtime
	}
	return times
}

// The directory of a list moves when the list differs from the one before, wherever the
// change was made, and never for any other reason. To look at its time asks nobody.
func TestDirectoriesMoveWithTheirLists(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	one := oneLayer(t, s, "team/app", "v1", "one")
	paths := []string{"", "team", "team/app", "team/app/tags"}
	dir := t.TempDir()
	r := ref.Repository{Host: s.Host, Path: "team/app"}
	var before map[string]time.Time
	// look lists all directories, and checks which moved.
	look := func(w *walked, what string, moved ...string) {
		t.Helper()
		for _, path := range paths {
			if _, err := w.shows(path); err != nil {
				t.Fatalf("%s: %s: %v", what, path, err)
			}
		}
		now := w.times(paths...)
		for _, path := range paths {
			want := false
			for _, m := range moved {
				want = want || m == path
			}
			if got := now[path].After(before[path]); got != want || now[path].Before(before[path]) {
				t.Errorf("%s: %q was of %v and is of %v", what, path, before[path], now[path])
			}
		}
		before = now
	}
	t.Run("a mount", func(t *testing.T) {
		w := walk(t, s, dir, Options{})
		before = w.times(paths...)
		for path, at := range before {
			if !at.Equal(epoch) {
				t.Errorf("%q, which nobody listed, is of %v", path, at)
			}
		}
		if asked := s.Asked(); len(asked) != 0 {
			t.Errorf("to look at times asked %v", asked)
		}
		look(w, "first", paths...)
		look(w, "again")
		s.SetTags("team/app", "v1", "v2")
		look(w, "a new tag", "team/app/tags")
		s.SetCatalog("team/app", "team/app/below")
		look(w, "a repository below", "team/app")
		s.SetCatalog("team/app", "team/app/below", "team/other")
		look(w, "a repository beside", "team")
		s.SetCatalog("team/app", "team/app/below", "team/other", "other")
		look(w, "a component", "")
		out := s.On("* *", failing)
		look(w, "the registry is out of reach")
		out.End()
		look(w, "it is back")

		pushTree{w.Tree}.PushedManifest(r, one, "v2")
		look(w, "a tag that was there was pushed")
		pushTree{w.Tree}.PushedManifest(r, one, "v3")
		if now := w.times("team/app/tags")["team/app/tags"]; !now.After(before["team/app/tags"]) {
			t.Errorf("after a push it is of %v", now)
		}
		s.SetTags("team/app", "v1", "v2", "v3")
		look(w, "a tag was pushed", "team/app/tags")
		w.repository(r).dropTags("v3")
		if now := w.times("team/app/tags")["team/app/tags"]; !now.After(before["team/app/tags"]) {
			t.Errorf("after a deletion it is of %v", now)
		}
		s.SetTags("team/app", "v1", "v2")
		look(w, "a tag was deleted", "team/app/tags")
	})
	w := walk(t, s, dir, Options{})
	for path, at := range w.times(paths...) {
		if !at.Equal(before[path]) {
			t.Errorf("%q was of %v, and is of %v after a remount", path, before[path], at)
		}
	}
	s.SetTags("team/app", "v1", "v2", "v4")
	look(w, "a tag that came while nothing was mounted", "team/app/tags")
}

// A tag that this mount pushed, or deleted, moves tags/ also where nobody has listed it;
// the listing that shows it then has nothing new.
func TestAPushMovesAListThatNobodyHasSeen(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	one := oneLayer(t, s, "team/app", "v1", "one")
	w := walk(t, s, t.TempDir(), Options{})
	r := ref.Repository{Host: s.Host, Path: "team/app"}
	last := epoch
	moves := func(what string, want bool) {
		t.Helper()
		now := w.times("team/app/tags")["team/app/tags"]
		if now.After(last) != want {
			t.Errorf("%s: it was of %v and is of %v", what, last, now)
		}
		last = now
	}
	pushTree{w.Tree}.PushedManifest(r, one, "v1")
	moves("a push", true)
	pushTree{w.Tree}.PushedManifest(r, one, "v1")
	moves("the same push", false)
	pushTree{w.Tree}.PushedManifest(r, one)
	moves("a push by digest", false)
	w.repository(r).dropTags("v1")
	moves("a deletion", true)
	s.SetTags("team/app", "v0")
	w.want("team/app/tags", "v0")
	moves("the listing", false)
}

// No tag's pointer can be under the name of a list.
func TestListsAreNoTags(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	w := walk(t, s, t.TempDir(), Options{})
	r := w.repository(ref.Repository{Host: s.Host, Path: "team/app"})
	if key := r.pointerKey("v1"); strings.Contains(key, " ") {
		t.Errorf("a tag is kept under %q", key)
	}
	for _, name := range []listName{r.tagsList(), place{w.Tree, ""}.namesList()} {
		if !strings.Contains(string(name), " ") {
			t.Errorf("a list is kept under %q", name)
		}
	}
}
