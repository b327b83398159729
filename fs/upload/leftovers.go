package upload

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/registry/ref"
)

// Names in a mount's directory.
const (
	lockName    = "lock"
	journalName = "pushed.jsonl"
	treeName    = "tree"
)

// line is a line of the journal: where a repository is staged, or what of it was
// pushed.
type line struct {
	Repository string `json:"repository"`
	Path       string `json:"path,omitempty"`   // below tree/
	Target     string `json:"target,omitempty"` // tag or digest
}

// note writes a line. Lines that are written at once don't mix: the file is open to append.
func (a *Area) note(l line) {
	journal := a.openJournal()
	if journal == nil {
		return
	}
	if _, err := journal.Write(append(mustMarshal(l), '\n')); err != nil {
		a.log.Debug("journal of pushes not written", "cause", err) // more is found to be left than is
	}
}

// openJournal gives the journal; nil: nothing is staged yet.
func (a *Area) openJournal() *os.File {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.journal
}

// noted writes down that a target was pushed.
func (a *Area) noted(repo ref.Repository, target string) {
	a.note(line{Repository: repo.String(), Target: target})
}

// findLeftovers looks through what earlier mounts left, and removes what is of no use.
func (a *Area) findLeftovers() []leftover {
	entries, err := os.ReadDir(a.o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("the staging area can't be read", "dir", a.o.Dir, "cause", err)
	}
	var left []leftover
	for _, e := range entries {
		dir := filepath.Join(a.o.Dir, e.Name())
		lock, err := os.Open(filepath.Join(dir, lockName))
		if err != nil {
			continue // none of ours, or not made up yet
		}
		if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil { // else its mount is alive
			left = append(left, a.look(dir)...)
		}
		lock.Close()
	}
	return left
}

// look finds what in a mount's directory wasn't pushed. Where that is nothing, the
// directory is removed.
func (a *Area) look(dir string) []leftover {
	_ = os.RemoveAll(filepath.Join(dir, adoptName)) // the registry has it
	roots, pushed, err := readJournal(filepath.Join(dir, journalName))
	if err != nil {
		a.log.Warn("what a mount left can't be read", "dir", dir, "cause", err)
		return nil
	}
	var left []leftover
	for path, repository := range roots {
		top := filepath.Join(dir, treeName, filepath.FromSlash(path), "upload")
		left = append(left, lookIn(top, repository, pushed)...)
	}
	if len(left) == 0 {
		if err := os.RemoveAll(dir); err != nil {
			a.log.Warn("staging area not removed", "dir", dir, "cause", err)
		}
	}
	return left
}

func readJournal(path string) (roots map[string]string, pushed map[line]bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	roots, pushed = map[string]string{}, map[line]bool{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		var l line
		if json.Unmarshal(s.Bytes(), &l) != nil {
			continue // the last one, half written
		}
		if l.Path != "" && filepath.IsLocal(l.Path) {
			roots[l.Path] = l.Repository
		} else {
			pushed[l] = true
		}
	}
	return roots, pushed, s.Err() // half of it would tell that less is left than is
}

// lookIn finds what wasn't pushed of one upload/: a record for each tag or digest of
// an index, and one for each other file.
func lookIn(top, repository string, pushed map[line]bool) []leftover {
	done := func(target string) bool { return pushed[line{Repository: repository, Target: target}] }
	var left []leftover
	add := func(target, path string, st fs.FileInfo) {
		text := fmt.Sprintf("kept in %s: copy it into upload/ to push it, or remove it", path)
		left = append(left, leftover{Record{repository, target, Left, text, st.ModTime().UTC()}, path})
	}
	// Layouts that are listed as a whole. One whose targets were all pushed isn't: it may
	// have pieces of an image that its index doesn't name yet.
	listed := map[string]bool{}
	for _, dir := range layoutsIn(top) {
		index := filepath.Join(dir, indexName)
		st, err := os.Lstat(index)
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		for _, target := range targets(index, dir == top, filepath.Base(dir)) {
			if done(target) {
				continue
			}
			add(target, dir, st)
			listed[dir] = true
			if dir != top {
				break // it is one image
			}
		}
	}
	_ = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || e.Name() == indexName || e.Name() == layoutName {
			return nil
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return nil
		}
		st, err := e.Info()
		parts := strings.Split(filepath.ToSlash(rel), "/")
		layout, target := top, ""
		if len(parts) > 2 && parts[len(parts)-3] == blobsName {
			if d, derr := ref.NewDigest(parts[len(parts)-2], parts[len(parts)-1]); derr == nil {
				target = d.String()
			}
		}
		if parts[0] != blobsName && parts[0] != manifestsName && len(parts) > 1 {
			layout = filepath.Join(top, parts[0])
		}
		switch {
		case err != nil:
			return nil
		case target != "":
			if listed[layout] || done(target) {
				return nil
			}
		case len(parts) == 2 && parts[0] == blobsName:
		case len(parts) == 2 && parts[0] == manifestsName:
			if target = manifestTarget(parts[1]); done(target) {
				return nil
			}
		default:
			return nil // what came along with a copy, or was never whole
		}
		if target == "" {
			target = parts[len(parts)-1]
		}
		add(target, path, st)
		return nil
	})
	return left
}

// layoutsIn are the directories of an upload/ on disk that can be layouts.
func layoutsIn(top string) []string {
	dirs := []string{top}
	entries, err := os.ReadDir(top)
	if err != nil {
		return dirs // nothing was staged, or someone removed it
	}
	for _, e := range entries {
		if e.IsDir() && canBeTag(e.Name()) {
			dirs = append(dirs, filepath.Join(top, e.Name()))
		}
	}
	return dirs
}

// manifestTarget is what a file in manifests/ is pushed as.
func manifestTarget(name string) string {
	if d, ok := ref.ParseDigestName(name); ok {
		return d.String()
	}
	return name
}

// targets gives the targets of the entries of an index on disk: first the tag of a directory
// that is an image.
func targets(path string, top bool, name string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	index, err := parseIndex(b)
	es := readEntries(index.Manifests, top)
	var ts []string
	switch {
	case !top && (err != nil || len(es) > 0):
		ts = append(ts, manifestTarget(name))
	case err != nil:
		ts = append(ts, indexName)
	}
	for _, e := range eachOnce(es) {
		ts = append(ts, e.target)
	}
	return ts
}
