package fs

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
)

// maxLists bounds the lists whose times are in memory. The cache has the others.
const maxLists = 4096

// listName names a list that a directory shows. Lists are remembered beside the pointers
// of tags: a listName has spaces, which no tag's key has.
type listName string

// tagsList and namesList name the kinds of lists. All paths that lead to a
// repository share its lists; a namespace's list is of one path.
func (r *repository) tagsList() listName { return listName("tags of " + r.String()) }

func (p place) namesList() listName { return listName("names in /" + p.full()) }

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

// lists keeps when lists last changed: when they were first seen as they are. These are the
// times of the directories that show them, for pollers: nothing else tells of a new tag.
// A time never goes back. The cache keeps times over mounts, and fingerprints, so that a
// change between two mounts is noticed; it tells nobody a name. It is safe for concurrent
// use.
type lists struct {
	store *cache.Store
	log   *slog.Logger
	ttl   time.Duration // how long a list is believed
	now   func() time.Time

	mu   sync.Mutex // guards seen, and orders what is remembered on disk
	seen *simplelru.LRU[listName, seenList]
}

// seenList is a list as it was last seen.
type seenList struct {
	content digest.Digest // its fingerprint, or unlisted
	changed time.Time     // of its last change, as far as this mount knows
	expires time.Time     // the end of the belief in it; zero: this mount hasn't seen it
}

func newLists(store *cache.Store, ttl time.Duration, log *slog.Logger) *lists {
	l, err := simplelru.NewLRU[listName, seenList](maxLists, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return &lists{store: store, log: log, ttl: ttl, now: time.Now, seen: l}
}

// saw notes that a list has this fingerprint, and until when that is believed. The first
// fingerprint ever is a change. Another one is a change, too, unless change noted it before.
func (l *lists) saw(name listName, content digest.Digest, expires time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, known := l.last(name)
	same := known && s.content == content
	if !same && s.content != unlisted {
		s.changed = l.later(s.changed)
	}
	s.content, s.expires = content, expires
	l.seen.Add(name, s)
	if !same {
		l.remember(name, s)
	}
}

// change notes that a list has changed, which nobody has seen yet.
func (l *lists) change(name listName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, _ := l.last(name)
	s.content, s.changed = unlisted, l.later(s.changed)
	l.seen.Add(name, s)
	l.remember(name, s)
}

// shown gives the time of a directory that shows a list, and for how long the kernel may
// keep that: as long as the list is believed. A list that nobody has seen has epoch, until
// somebody lists it or changes it here; the kernel is told then.
func (l *lists) shown(name listName) (mtime time.Time, ttl time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.last(name)
	if !ok {
		return epoch, min(l.ttl, forever)
	}
	return s.changed, max(0, min(s.expires.Sub(l.now()), forever))
}

// last gives a list as this mount or one before saw it last. l.mu is held.
func (l *lists) last(name listName) (seenList, bool) {
	if s, ok := l.seen.Get(name); ok {
		return s, true
	}
	p, ok := l.store.Recall(string(name))
	if !ok {
		return seenList{}, false
	}
	s := seenList{content: p.Digest, changed: p.Modified}
	l.seen.Add(name, s)
	return s, true
}

// later is now, or a moment after t where the clock says that now is before it.
func (l *lists) later(t time.Time) time.Time {
	now := l.now().Round(0) // by the clock that is shown, which may be set back
	if !now.After(t) {
		return t.Add(time.Nanosecond)
	}
	return now
}

// remember keeps a list on disk. l.mu is held.
func (l *lists) remember(name listName, s seenList) {
	p := cache.Pointer{Digest: s.content, Checked: l.now(), Modified: s.changed}
	if err := l.store.Remember(string(name), p); err != nil {
		l.log.Debug("the time of a list isn't remembered on disk", "list", string(name), "cause", err)
	}
}

// listStat is the stat of a directory here that shows a list, with the content d.
func (p place) listStat(d digest.Digest, list listName) stat {
	st := p.dirStat(d)
	st.mtime, st.ttl = p.tree.lists.shown(list)
	return st
}
