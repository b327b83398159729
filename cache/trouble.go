package cache

import (
	"log/slog"
	"sync"
	"time"
)

// troubleEvery is how often trouble that comes and goes is told at most.
const troubleEvery = time.Minute

// trouble is what keeps the cache directory from being written. The log is told when it begins,
// when it is over, and when it comes again. It is safe for concurrent use.
type trouble struct {
	dir string
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex // guards the fields below; a leaf
	cause error      // nil: there is none
	since time.Time
	told  time.Time // when the log was told last that it began; zero: never
	open  bool      // the log was told that it began, and not that it is over
}

// met says that the directory couldn't be written.
func (t *trouble) met(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.cause == nil {
		t.since = now
	}
	t.cause = err
	if since := now.Sub(t.told); t.open || !t.told.IsZero() && since >= 0 && since < troubleEvery {
		return
	}
	t.open, t.told = true, now
	t.log.Error("the cache directory can't be written: going on without keeping anything", "dir", t.dir, "cause", err)
}

// over says that a blob got its place.
func (t *trouble) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause == nil {
		return
	}
	if t.open {
		t.log.Info("the cache directory can be written again", "dir", t.dir, "after", t.now().Sub(t.since).Round(time.Second).String())
	}
	t.cause, t.open = nil, false
}

// current gives the trouble of this moment; "": there is none.
func (t *trouble) current() (cause string, since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause == nil {
		return "", time.Time{}
	}
	return t.cause.Error(), t.since.UTC()
}

// degrade tells that the cache can't keep anything.
func (s *Store) degrade(err error) { s.trouble.met(err) }
