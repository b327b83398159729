package known

import (
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
)

// ListName names a list that a directory shows. Lists are remembered beside the pointers of
// tags: a ListName has spaces, which no tag's key has.
type ListName string

// TagsName names the list of tags. All paths that lead to a repository share it.
func (r Repository) TagsName() ListName { return ListName("tags of " + r.String()) }

// NamesIn names the list of hosts, components or repositories in a directory. path goes from
// the registry down.
func NamesIn(path string) ListName { return ListName("names in /" + path) }

// fingerprint gives a digest that tells a list of names from another.
func fingerprint(names []string) digest.Digest {
	if len(names) == 0 {
		return digest.FromString("")
	}
	return digest.FromString(strings.Join(names, "\n") + "\n")
}

// unlisted is the fingerprint of a list that changed, and wasn't seen since. No list has it:
// each name of a list ends with a newline.
var unlisted = digest.FromString("unlisted")

// listTimes keeps when lists last changed: when they were first seen as they are. These are
// the times of the directories that show them, for pollers: nothing else tells of a new tag. A
// time never goes back. The cache keeps times over mounts, and fingerprints, so that a change
// between two mounts is noticed; it tells nobody a name. It is safe for concurrent use.
type listTimes struct {
	rs *Registries

	mu   sync.Mutex // guards seen, and orders what changes on disk: held over these small files
	seen *simplelru.LRU[ListName, seenList]
}

// seenList is a list as it was last seen.
type seenList struct {
	content digest.Digest // its fingerprint, or unlisted
	changed time.Time     // of its last change, as far as this mount knows
	until   time.Time     // the end of the belief in it; zero: this mount hasn't seen it
}

func newListTimes(rs *Registries) *listTimes {
	return &listTimes{rs: rs, seen: newLRU[ListName, seenList](maxListTimes, nil)}
}

// SawList notes that a list of names was seen, and is believed from now on as lists are.
func (rs *Registries) SawList(name ListName, names []string) {
	rs.times.saw(name, fingerprint(names), rs.now().Add(rs.o.ListTTL))
}

// SawTags notes that the list of tags was shown.
func (r Repository) SawTags(l TagList) { r.rs.times.saw(r.TagsName(), l.Content, l.Until) }

// ListTime gives the time of a directory that shows a list, and for how long the kernel may
// keep that: as long as the list is believed. A list that nobody has seen has Options.Epoch,
// until somebody lists it or changes it here; the kernel is told then.
func (rs *Registries) ListTime(name ListName) (changed time.Time, ttl time.Duration) {
	return rs.times.shown(name)
}

// saw notes that a list has this fingerprint, and until when that is believed. A list
// that was never seen, and one with another fingerprint, gets the time of now. A change that
// this mount made itself was noted by change, and isn't counted twice.
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

// change notes that a list has changed, which nobody has seen yet.
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

// onDisk gives a list as a mount before saw it last.
func (t *listTimes) onDisk(name ListName) (seenList, bool) {
	p, ok := t.rs.o.Store.Recall(string(name))
	return seenList{content: p.Digest, changed: p.Modified}, ok
}

// keep keeps a list that was read from disk, unless it was seen meanwhile, and gives the last.
func (t *listTimes) keep(name ListName, s seenList) seenList {
	t.mu.Lock()
	defer t.mu.Unlock()
	if newer, ok := t.seen.Get(name); ok {
		return newer
	}
	t.seen.Add(name, s)
	return s
}

// last gives a list as this mount or one before saw it last. mu is held.
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

// later is now, or a moment after t0 where the clock says that now is before it.
func (t *listTimes) later(t0 time.Time) time.Time {
	now := t.rs.now().Round(0) // by the clock that is shown, which may be set back
	if !now.After(t0) {
		return t0.Add(time.Nanosecond)
	}
	return now
}

// remember keeps a list on disk. mu is held.
func (t *listTimes) remember(name ListName, s seenList) {
	p := cache.Pointer{Digest: s.content, Checked: t.rs.now(), Modified: s.changed}
	if err := t.rs.o.Store.Remember(string(name), p); err != nil {
		t.rs.log.Debug("the time of a list isn't remembered on disk", "list", string(name), "cause", err)
	}
}
