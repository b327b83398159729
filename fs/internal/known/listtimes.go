package known

import (
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
)

// ListName is the key of a list that a directory shows. The cache stores lists next to the
// pointers of tags. A ListName has spaces, and the key of a tag has none.
type ListName string

// TagsName gives the name of the list of tags. All paths to a repository share it.
func (r Repository) TagsName() ListName { return ListName("tags of " + r.String()) }

// NamesIn gives the name of the list of hosts, components or repositories in a directory. path is
// that in a mount of all registries.
func NamesIn(path string) ListName { return ListName("names in /" + path) }

// fingerprint gives a digest that is different for each list of names.
func fingerprint(names []string) digest.Digest {
	if len(names) == 0 {
		return digest.FromString("")
	}
	return digest.FromString(strings.Join(names, "\n") + "\n")
}

// unlisted is the fingerprint of a list that changed and wasn't seen since. No real list has it,
// because each name of a list ends with a newline.
var unlisted = digest.FromString("unlisted")

// listTimes keeps the times of the last changes of lists: when each was first seen as it is now.
// These are the times of the directories that show the lists. Programs that poll need them,
// because nothing else tells of a new tag. A time never goes back. The cache keeps times and
// fingerprints over mounts, so that a change between two mounts is noticed. It stores no names of
// the lists. It is safe for concurrent use.
type listTimes struct {
	rs *Registries

	// mu guards seen. It is also held while a list is stored on disk, so that the changes
	// keep their order.
	mu   sync.Mutex
	seen *simplelru.LRU[ListName, seenList]
}

// seenList is a list as it was last seen.
type seenList struct {
	content digest.Digest // the fingerprint, or unlisted
	changed time.Time     // the last change that this mount knows
	until   time.Time     // the end of the belief; zero: this mount hasn't seen it
}

func newListTimes(rs *Registries) *listTimes {
	return &listTimes{rs: rs, seen: newLRU[ListName, seenList](maxListTimes, nil)}
}

// SawList notes that a list of names was seen, and is believed for ListTTL from now on.
func (rs *Registries) SawList(name ListName, names []string) {
	rs.times.saw(name, fingerprint(names), rs.now().Add(rs.o.ListTTL))
}

// SawTags notes that the list of tags was shown.
func (r Repository) SawTags(l TagList) { r.rs.times.saw(r.TagsName(), l.Content, l.Until) }

// ListTime gives the time of a directory that shows a list. ttl is how long the kernel may keep
// the time, which is as long as the list is believed. A list that nobody has seen has the time
// Options.Epoch, until somebody lists it or this mount changes it. The kernel is told then.
func (rs *Registries) ListTime(name ListName) (changed time.Time, ttl time.Duration) {
	return rs.times.shown(name)
}

// saw notes that a list has the fingerprint content, which is believed until until. A list that
// was never seen, or that had another fingerprint, gets the present time. A change that this
// mount made itself was already noted by change, and isn't counted twice.
func (t *listTimes) saw(name ListName, content digest.Digest, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, known := t.last(name)
	same := known && s.content == content
	if !same && s.content != unlisted {
		s.changed = t.later(s.changed)
	}
	s.content, s.until = content, until
	t.seen.Add(name, s)
	if !same {
		t.remember(name, s)
	}
}

// change notes that a list has changed, and wasn't seen since.
func (t *listTimes) change(name ListName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, _ := t.last(name)
	s.content, s.changed = unlisted, t.later(s.changed)
	t.seen.Add(name, s)
	t.remember(name, s)
}

func (t *listTimes) shown(name ListName) (changed time.Time, ttl time.Duration) {
	s, ok := t.inMemory(name)
	if !ok {
		if s, ok = t.onDisk(name); !ok {
			return t.rs.o.Epoch, t.rs.o.ListTTL
		}
		s = t.keep(name, s)
	}
	return s.changed, max(0, s.until.Sub(t.rs.now()))
}

func (t *listTimes) inMemory(name ListName) (seenList, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen.Get(name)
}

// onDisk gives a list as an earlier mount last saw it.
func (t *listTimes) onDisk(name ListName) (seenList, bool) {
	p, ok := t.rs.o.Store.Recall(string(name))
	return seenList{content: p.Digest, changed: p.Modified}, ok
}

// keep stores a list that was read from disk, unless the list was seen meanwhile. It gives the
// newer one.
func (t *listTimes) keep(name ListName, s seenList) seenList {
	t.mu.Lock()
	defer t.mu.Unlock()
	if newer, ok := t.seen.Get(name); ok {
		return newer
	}
	t.seen.Add(name, s)
	return s
}

// last gives a list as this or an earlier mount last saw it. mu is held.
func (t *listTimes) last(name ListName) (seenList, bool) {
	if s, ok := t.seen.Get(name); ok {
		return s, true
	}
	s, ok := t.onDisk(name)
	if ok {
		t.seen.Add(name, s)
	}
	return s, ok
}

// later gives the present time, or the moment after t0 if the present time isn't after it.
func (t *listTimes) later(t0 time.Time) time.Time {
	now := t.rs.now().Round(0) // the wall clock, which may be set back
	if !now.After(t0) {
		return t0.Add(time.Nanosecond)
	}
	return now
}

// remember stores a list on disk. mu is held.
func (t *listTimes) remember(name ListName, s seenList) {
	p := cache.Pointer{Digest: s.content, Checked: t.rs.now(), Modified: s.changed}
	if err := t.rs.o.Store.Remember(string(name), p); err != nil {
		t.rs.log.Debug("the time of a list isn't remembered on disk", "list", string(name), "cause", err)
	}
}
