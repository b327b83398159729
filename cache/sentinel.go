package cache

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sentinel is the file by which a process says that it has the cache open. The process has it
// locked for as long as it lives, and Close removes it. One that isn't locked tells of an
// unclean end: of a process that was killed, or whose machine lost its power.
//
// It isn't synced. Whoever is the first to sync a blob after it syncs it too on a disk
// with a journal, and where no blob was written after it, it tells of nothing.
type sentinel struct {
	f    *os.File
	path string
}

// sentinelText is what stands in it, for people.
type sentinelText struct {
	For string `json:"for"`
}

// enter makes the sentinel of this process. It is locked before it has its name, so that
// nobody finds it who could take it for one that was left.
func (l layout) enter(purpose string) (*sentinel, error) {
	b, err := json.Marshal(sentinelText{purpose})
	if err != nil {
		return nil, err
	}
	s := &sentinel{path: filepath.Join(l.alive(), fmt.Sprintf("%d-%s", os.Getpid(), rand.Text()))}
	err = l.replace(s.path, b, func(f *os.File) (err error) {
		// A lock ends with its descriptor: it is one that replace doesn't close.
		if s.f, err = os.OpenFile(f.Name(), os.O_RDWR, 0); err == nil {
			err = tryLock(s.f)
		}
		return err
	})
	if err != nil {
		if s.f != nil {
			s.f.Close()
		}
		return nil, err
	}
	return s, nil
}

// leave removes it.
func (s *sentinel) leave() {
	if named(s.f, s.path) {
		_ = os.Remove(s.path) // else the next one looks in vain for what is damaged
	}
	s.f.Close()
}

// since is when its process opened the cache.
func (s *sentinel) since() time.Time {
	st, err := s.f.Stat()
	if err != nil {
		return time.Time{} // all is to be looked at
	}
	return st.ModTime()
}

// takenOver ends the name of a sentinel whose process ended uncleanly, and that is locked by
// the process that works off what it put in doubt.
const takenOver = ".dead"

// unclean gives the sentinels of processes that ended without closing the cache. Those in own
// are locked now, so that one process alone works off what each put in doubt, until leave or
// until their files are closed. Those in others are locked by other processes, which do.
func (l layout) unclean() (own, others []*sentinel) {
	defer l.lockSentinels()()
	l.sentinels(func(s *sentinel) bool {
		err := tryLock(s.f)
		switch {
		case !named(s.f, s.path): // removed just now
			return false
		case err != nil && strings.HasSuffix(s.path, takenOver):
			others = append(others, s)
			return true
		case err != nil: // its process is alive
			return false
		}
		if to := strings.TrimSuffix(s.path, takenOver) + takenOver; os.Rename(s.path, to) == nil {
			s.path = to
		}
		own = append(own, s)
		return true
	})
	return own, others
}

// lockSentinels keeps others from looking at the sentinels while this one does: a sentinel of an
// unclean end that is locked for the look, or isn't renamed yet, would be taken for that of a
// live process. It gives up after a second. What it gives unlocks.
func (l layout) lockSentinels() (unlock func()) {
	dir, err := os.Open(l.alive())
	if err != nil {
		return func() {} // there are none yet
	}
	for end := time.Now().Add(time.Second); errors.Is(tryLock(dir), syscall.EWOULDBLOCK) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	return func() { dir.Close() }
}

func closeAll(of []*sentinel) {
	for _, s := range of {
		s.f.Close()
	}
}

// sentinels opens each, and closes it again unless it is kept.
func (l layout) sentinels(keep func(*sentinel) bool) {
	entries, err := os.ReadDir(l.alive())
	if err != nil {
		return // there are none yet
	}
	for _, e := range entries {
		path := filepath.Join(l.alive(), e.Name())
		if !e.Type().IsRegular() {
			continue
		}
		if f, err := os.OpenFile(path, os.O_RDWR, 0); err == nil && !keep(&sentinel{f, path}) {
			f.Close()
		}
	}
}

// User is a process that has the cache open.
type User struct {
	PID   int       `json:"pid"`
	For   string    `json:"for"` // as Options.For; may be empty
	Since time.Time `json:"since"`
}

// users gives the processes that have the cache open, and how many ended without closing
// it and weren't looked after yet.
func (l layout) users() (alive []User, unclean int) {
	defer l.lockSentinels()()
	alive = []User{}
	l.sentinels(func(s *sentinel) bool {
		switch err := tryLockShared(s.f); {
		case !named(s.f, s.path): // taken away just now
		case err == nil || strings.HasSuffix(s.path, takenOver):
			unclean++
		case errors.Is(err, syscall.EWOULDBLOCK):
			alive = append(alive, s.user())
		}
		return false
	})
	return alive, unclean
}

func (s *sentinel) user() User {
	pid, _, _ := strings.Cut(filepath.Base(s.path), "-")
	u := User{Since: s.since().UTC()}
	u.PID, _ = strconv.Atoi(pid) // 0 where it has another name
	var text sentinelText
	if b, err := os.ReadFile(s.path); err == nil && json.Unmarshal(b, &text) == nil {
		u.For = text.For
	}
	return u
}
