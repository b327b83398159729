package known

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry/ref"
)

// clocked are lists whose clock the test sets.
type clocked struct {
	*listTimes
	t    *testing.T
	time time.Time
}

var epoch = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

func newClocked(t *testing.T, store *cache.Store, now time.Time) *clocked {
	c := &clocked{t: t, time: now}
	c.listTimes = New(Options{Store: store, ListTTL: time.Minute, Epoch: epoch, Now: func() time.Time { return c.time }}).times
	return c
}

func (c *clocked) saw(name ListName, names ...string) {
	c.listTimes.saw(name, fingerprint(names), c.time.Add(time.Minute))
}

func (c *clocked) is(name ListName, want time.Time) {
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
	for i := range maxListTimes + 10 {
		c.saw(ListName(fmt.Sprint("list ", i)), "v1")
		c.time = c.time.Add(time.Second)
	}
	if n := c.seen.Len(); n > maxListTimes {
		t.Errorf("%d are in memory", n)
	}
	for _, i := range []int{0, 5, maxListTimes + 9} {
		c.is(ListName(fmt.Sprint("list ", i)), first.Add(time.Duration(i)*time.Second))
	}
}

// No tag's pointer can be under the name of a list.
func TestListsAreNoTags(t *testing.T) {
	r := New(Options{}).Repository(ref.Repository{Host: "r.example", Path: "team/app"})
	if key := r.tagKey("v1").cacheKey(); strings.Contains(key, " ") {
		t.Errorf("a tag is kept under %q", key)
	}
	for _, name := range []ListName{r.TagsName(), NamesIn("")} {
		if !strings.Contains(string(name), " ") {
			t.Errorf("a list is kept under %q", name)
		}
	}
}
