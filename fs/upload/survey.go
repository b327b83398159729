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

// Stage is what one mount has staged, or left, seen from outside.
type Stage struct {
	Dir   string `json:"dir"`
	Alive bool   `json:"alive"` // its mount lives, as far as locks tell
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
	// Left is what a mount that ended didn't push; empty where that lives.
	Left []Record `json:"left"`
}

// Survey lists what mounts have staged in a directory, which needn't be there, and what
// those left that ended. It changes nothing, and is safe while mounts live.
func Survey(dir string) ([]Stage, error) {
	stages := []Stage{}
	err := eachLock(dir, func(dir string, lock *os.File) error {
		ended := tryLock(lock)
		// A mount that begins passes over what is locked: it isn't for longer than that.
		_ = unix.Flock(int(lock.Fd()), unix.LOCK_UN)
		if s, ok := survey(dir, ended); ok {
			stages = append(stages, s)
		}
		return nil
	})
	return stages, err
}

// Clean removes what nobody needs of what mounts left that ended: all that was pushed, and
// with unpushed also what wasn't, which can't be had again. What mounts have that live stays.
// It gives what is removed and what is kept. With dry nothing is removed.
func Clean(dir string, unpushed, dry bool) (removed, kept []Stage, err error) {
	removed, kept = []Stage{}, []Stage{}
	err = eachLock(dir, func(dir string, lock *os.File) error {
		s, ok := survey(dir, tryLock(lock)) // held until it is removed, so that nobody else looks after it
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

// eachLock calls do with the directory of every mount, and its lock file, which is closed
// afterwards. A directory without one is none of ours, or not made up yet.
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

// tryLock locks a mount's directory until the file is closed. It fails while the mount lives.
func tryLock(lock *os.File) bool {
	return unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}

// survey gives what a mount has staged, or left if it has ended. ok is false if the directory
// has no journal.
func survey(dir string, ended bool) (s Stage, ok bool) {
	s = Stage{Dir: dir, Alive: !ended, Left: []Record{}}
	roots, pushed, err := readJournal(filepath.Join(dir, journalName))
	if errors.Is(err, fs.ErrNotExist) {
		return s, false
	}
	s.count()
	switch {
	case s.Alive:
	case err != nil: // whatever is there, it isn't known to be pushed
		text := fmt.Sprintf("what was pushed of %s can't be read: %v", dir, err)
		s.Left = append(s.Left, Record{State: Left, Error: text, Time: s.changed()})
	default:
		for _, l := range leftoversOf(dir, roots, pushed) {
			s.Left = append(s.Left, l.Record)
		}
	}
	return s, true
}

// changed gives when something was last staged, as far as the directory tells.
func (s *Stage) changed() time.Time {
	st, err := os.Stat(s.Dir)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime().UTC()
}

// count counts what is staged.
func (s *Stage) count() {
	for _, of := range []string{treeName, adoptName} {
		// What goes meanwhile isn't counted.
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
