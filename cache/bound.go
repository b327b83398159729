package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// DefaultBound is the bound of a directory in which none is kept, in bytes.
	DefaultBound = 10 << 30
	// boundEvery is how often a store looks whether the directory's bound was changed: soon
	// enough for whoever waits for it, and one stat in that time.
	boundEvery = 5 * time.Second
	// boundWait is how long a store that is opened waits for another that is just being
	// opened. That takes some milliseconds.
	boundWait = time.Second
)

// bound is the file in which the directory's bound is kept: its bytes in decimal, and a newline.
func (l layout) bound() string { return filepath.Join(l.dir, version, "bound") }

// readBound gives the directory's bound; 0 where none is kept.
func (l layout) readBound() (int64, error) {
	b, err := os.ReadFile(l.bound())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("bound of the cache: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSuffix(string(b), "\n"), 10, 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("bound of the cache: %s holds %.40q, which is no number of bytes: 'ocifs cache limit SIZE' writes it anew", l.bound(), b)
	}
	return n, nil
}

// writeBound keeps a bound in one step.
func (l layout) writeBound(n int64) error {
	if n <= 0 {
		return fmt.Errorf("bound of the cache: %d is no number of bytes", n)
	}
	if err := l.replace(l.bound(), fmt.Appendln(nil, n), nil); err != nil {
		return fmt.Errorf("bound of the cache: %w", err)
	}
	return nil
}

// lockBound keeps other stores from being opened in the directory, so that two that are opened
// at once agree on a bound. Where there are no locks, it keeps nobody out.
func (l layout) lockBound() (unlock func()) {
	f, err := os.Open(filepath.Join(l.dir, version))
	if err != nil {
		return func() {}
	}
	for end := time.Now().Add(boundWait); errors.Is(tryLock(f), syscall.EWOULDBLOCK) && time.Now().Before(end); {
		time.Sleep(boundWait / 100)
	}
	return func() { f.Close() }
}

// agree gives the bound that a store has to keep that was opened with asked, which is 0 where
// its caller has no opinion. The bound is the directory's. Only who opens it alone changes it:
// a small one would empty the cache of the others. lockBound is held.
func (s *Store) agree(asked int64, others []User) int64 {
	kept, err := s.readBound()
	if err != nil {
		s.log.Warn("the bound that is kept in the cache directory can't be read", "cause", err)
	}
	bound := kept
	if bound == 0 {
		bound = DefaultBound
	}
	switch {
	case asked == 0 || asked == kept:
		return bound
	case len(others) > 0 && asked != bound:
		s.log.Warn("the cache keeps its bound, as others have it open; 'ocifs cache limit SIZE' changes it for all",
			"bound", bound, "asked", asked, "dir", s.dir, "others", names(others))
		return bound
	}
	if err := s.writeBound(asked); err != nil {
		s.log.Warn("the bound isn't kept in the cache directory", "cause", err)
	}
	return asked
}

// names names those who have the cache open.
func names(users []User) string {
	var s []string
	for _, u := range users {
		if u.For == "" {
			u.For = "a process"
		}
		s = append(s, fmt.Sprintf("%s (process %d)", u.For, u.PID))
	}
	return strings.Join(s, ", ")
}

// followBound takes the directory's bound over where it was changed. A file that is gone
// changes nothing.
func (s *Store) followBound() {
	st, err := os.Stat(s.bound())
	if err != nil || s.boundSeen != nil && os.SameFile(st, s.boundSeen) && st.ModTime().Equal(s.boundSeen.ModTime()) {
		return
	}
	s.boundSeen = st
	switch n, err := s.readBound(); {
	case err != nil:
		s.log.Warn("the bound that is kept in the cache directory can't be read", "cause", err)
	case n > 0 && n != s.Bound():
		s.log.Info("the bound of the cache was changed", "bound", n, "before", s.Bound(), "dir", s.dir)
		s.ledger.setMax(n)
		s.seen.Store(nil)
		s.evict(0)
	}
}

// Bound is how many bytes of the disk the store takes at most.
func (s *Store) Bound() int64 { return s.ledger.sums().max }

// Bound is the directory's bound, in bytes.
func (c *Directory) Bound() (int64, error) {
	n, err := c.readBound()
	if err == nil && n == 0 {
		n = DefaultBound
	}
	return n, err
}

// Users gives the processes that have the directory open, as far as locks tell.
func (c *Directory) Users() []User {
	alive, _ := c.users()
	return alive
}

// SetBound changes the directory's bound. Stores that have it open follow within some seconds.
func (c *Directory) SetBound(bytes int64) error {
	return c.writeBound(bytes)
}
