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
	err := eachStage(dir, false, func(s Stage) error {
		stages = append(stages, s)
		return nil
	})
	return stages, err
}

// Clean removes what nobody needs of what mounts left that ended: all that was pushed, and
// with unpushed also what wasn't, which can't be had again. What mounts have that live stays.
// It gives what is removed and what is kept. With dry nothing is removed.
func Clean(dir string, unpushed, dry bool) (removed, kept []Stage, err error) {
	removed, kept = []Stage{}, []Stage{}
	err = eachStage(dir, true, func(s Stage) error {
		if s.Alive || len(s.Left) > 0 && !unpushed {
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

// eachStage calls each with the directory of every mount. Those of mounts that ended are
// held meanwhile if hold says so, so that nobody else looks after them; only while it is
// found out that they ended otherwise, as a mount that begins passes over what is held.
func eachStage(dir string, hold bool, each func(Stage) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("staging area: %w", err)
	}
	var errs []error
	for _, e := range entries {
		s := Stage{Dir: filepath.Join(dir, e.Name()), Left: []Record{}}
		lock, err := os.Open(filepath.Join(s.Dir, lockName))
		if err != nil {
			continue // none of ours, or not made up yet
		}
		s.Alive = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
		if !hold {
			_ = unix.Flock(int(lock.Fd()), unix.LOCK_UN) // closing it does, else
		}
		if roots, pushed, err := readJournal(filepath.Join(s.Dir, journalName)); !errors.Is(err, fs.ErrNotExist) {
			s.count()
			switch {
			case s.Alive:
			case err != nil: // whatever is there, it isn't known to be pushed
				text := fmt.Sprintf("what was pushed of %s can't be read: %v", s.Dir, err)
				s.Left = append(s.Left, Record{State: Left, Error: text, Time: s.changed()})
			default:
				for path, repository := range roots {
					top := filepath.Join(s.Dir, treeName, filepath.FromSlash(path), "upload")
					for _, l := range lookIn(top, repository, pushed) {
						s.Left = append(s.Left, l.Record)
					}
				}
			}
			errs = append(errs, each(s))
		}
		lock.Close()
	}
	return errors.Join(errs...)
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
