package upload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Stage describes what one mount has staged, as other processes see it on the disk.
type Stage struct {
	Dir string `json:"dir"`
	// Alive says that the mount lives, as its lock tells.
	Alive bool  `json:"alive"`
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Left are the pushes that a mount didn't finish before it ended. It is empty while
	// the mount lives.
	Left []Record `json:"left"`
}

// Survey lists the staging directories of all mounts in dir, which may be missing, with what
// ended mounts left. It changes nothing, and is safe while mounts live.
func Survey(dir string) ([]Stage, error) {
	stages := []Stage{}
	err := eachLock(dir, func(dir string, lock *os.File) error {
		ended := tryLock(lock)
		// A new mount skips a locked directory, so the lock must be short.
		_ = unix.Flock(int(lock.Fd()), unix.LOCK_UN)
		if s, ok := survey(dir, ended); ok {
			stages = append(stages, s)
		}
		return nil
	})
	return stages, err
}

// Clean removes the directories of ended mounts from which everything was pushed. With
// unpushed it also removes the others, whose unpushed content is then lost. Directories of
// living mounts stay. With dry it removes nothing. It gives the directories that are (or
// would be) removed, and those kept.
func Clean(dir string, unpushed, dry bool) (removed, kept []Stage, err error) {
	removed, kept = []Stage{}, []Stage{}
	err = eachLock(dir, func(dir string, lock *os.File) error {
		s, ok := survey(dir, tryLock(lock)) // locked until it is removed
		switch {
		case !ok:
			return nil
		case s.Alive || len(s.Left) > 0 && !unpushed:
			kept = append(kept, s)
			return nil
		}
		if !dry {
			if err := os.RemoveAll(s.Dir); err != nil {
				return fmt.Errorf("staging area: %w", err)
			}
		}
		removed = append(removed, s)
		return nil
	})
	return removed, kept, err
}

// eachLock calls do with the directory of every mount and its open lock file, which it closes
// afterwards. A directory without a lock file isn't a mount's, or isn't ready yet.
func eachLock(dir string, do func(dir string, lock *os.File) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("staging area: %w", err)
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, withLock(filepath.Join(dir, e.Name()), do))
	}
	return errors.Join(errs...)
}

func withLock(dir string, do func(dir string, lock *os.File) error) error {
	lock, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return nil
	}
	defer lock.Close()
	return do(dir, lock)
}

// tryLock locks a mount's directory until lock is closed. It fails while the mount lives.
func tryLock(lock *os.File) bool {
	return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// survey describes the directory of a mount. ended says that the mount has ended. ok is false
// if the directory has no journal.
func survey(dir string, ended bool) (s Stage, ok bool) {
	s = Stage{Dir: dir, Alive: !ended, Left: []Record{}}
	roots, pushed, err := readJournal(filepath.Join(dir, journalName))
	if errors.Is(err, fs.ErrNotExist) {
		return s, false
	}
	s.count()
	switch {
	case s.Alive:
	case err != nil: // without the journal, nothing is known to be pushed
		text := fmt.Sprintf("what was pushed of %s can't be read: %v", dir, err)
		s.Left = append(s.Left, Record{State: Left, Error: text, Time: s.changed()})
	default:
		for _, l := range leftoversOf(dir, roots, pushed) {
			s.Left = append(s.Left, l.Record)
		}
	}
	return s, true
}

// changed gives when the directory last changed; zero if that isn't known.
func (s *Stage) changed() time.Time {
	st, err := os.Stat(s.Dir)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime().UTC()
}

// count counts the staged files and their bytes.
func (s *Stage) count() {
	for _, of := range []string{treeName, adoptName} {
		// Files that disappear meanwhile aren't counted.
		_ = filepath.WalkDir(filepath.Join(s.Dir, of), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil
			}
			if st, err := e.Info(); err == nil {
				s.Files++
				s.Bytes += st.Size()
			}
			return nil
		})
	}
}
