package upload

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

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
func (a *Area) findLeftovers() (found []leftover) {
	err := eachLock(a.o.Dir, func(dir string, lock *os.File) error {
		if tryLock(lock) { // else its mount is alive
			found = append(found, a.look(dir)...)
		}
		return nil
	})
	if err != nil {
		a.log.Warn("the staging area can't be read", "dir", a.o.Dir, "cause", err)
	}
	return found
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
	found := leftoversOf(dir, roots, pushed)
	if len(found) == 0 {
		if err := os.RemoveAll(dir); err != nil {
			a.log.Warn("staging area not removed", "dir", dir, "cause", err)
		}
	}
	return found
}

// leftoversOf finds what wasn't pushed of the repositories in a mount's directory. roots are
// their names, by the path below tree/.
func leftoversOf(dir string, roots map[string]string, pushed map[line]bool) (found []leftover) {
	for path, repository := range roots {
		top := filepath.Join(dir, treeName, filepath.FromSlash(path), "upload")
		found = append(found, lookIn(top, repository, pushed)...)
	}
	return found
}

// readJournal reads the repositories of a mount by the path below tree/, and what was pushed.
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
	f := &finder{top: top, repository: repository, pushed: pushed, listed: map[string]bool{}}
	for _, dir := range layoutsIn(top) {
		f.findEntries(dir)
	}
	_ = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			f.findFile(path, e)
		}
		return nil // what can't be read isn't known to be left
	})
	return f.found
}

// finder finds what wasn't pushed of one upload/ on the disk.
type finder struct {
	top, repository string
	pushed          map[line]bool
	found           []leftover
	// listed are the layouts that have a record. One whose targets were all pushed hasn't: it
	// may have pieces of an image that its index doesn't name yet.
	listed map[string]bool
}

func (f *finder) isPushed(target string) bool {
	return f.pushed[line{Repository: f.repository, Target: target}]
}

func (f *finder) add(target, path string, st fs.FileInfo) {
	text := fmt.Sprintf("kept in %s: copy it into upload/ to push it, or remove it", path)
	f.found = append(f.found, leftover{Record{f.repository, target, Left, text, st.ModTime().UTC()}, path})
}

// findEntries finds what the index.json of a layout lists.
func (f *finder) findEntries(dir string) {
	index := filepath.Join(dir, indexName)
	st, err := os.Lstat(index)
	if err != nil || !st.Mode().IsRegular() {
		return
	}
	kind := oneImage
	if dir == f.top {
		kind = anyImages
	}
	for _, target := range targets(index, kind, filepath.Base(dir)) {
		if f.isPushed(target) {
			continue
		}
		f.add(target, dir, st)
		f.listed[dir] = true
		if kind == oneImage {
			return
		}
	}
}

// findFile finds a file that is pushed by its place. Every other one came along with a copy,
// or was never whole.
func (f *finder) findFile(path string, e fs.DirEntry) {
	rel, err := filepath.Rel(f.top, path)
	if err != nil || e.Name() == indexName || e.Name() == layoutName {
		return
	}
	st, err := e.Info()
	if err != nil {
		return
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	inTop := len(parts) == 1 || parts[0] == blobsName || parts[0] == manifestsName
	layout := f.top
	if !inTop {
		layout = filepath.Join(f.top, parts[0])
	}
	switch d, isBlob := blobAt(parts); {
	case isBlob:
		if !f.listed[layout] && !f.isPushed(d.String()) {
			f.add(d.String(), path, st)
		}
	case len(parts) == 2 && parts[0] == blobsName:
		f.add(parts[1], path, st)
	case len(parts) == 2 && parts[0] == manifestsName:
		if target := manifestTarget(parts[1]); !f.isPushed(target) {
			f.add(target, path, st)
		}
	}
}

// blobAt gives the digest that a path ends with, as those of blobs do.
func blobAt(parts []string) (d digest.Digest, ok bool) {
	n := len(parts)
	if n < 3 || parts[n-3] != blobsName {
		return "", false
	}
	d, err := ref.NewDigest(parts[n-2], parts[n-1])
	return d, err == nil
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
func targets(path string, kind layoutKind, name string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	index, err := parseIndex(b)
	es := readEntries(index.Manifests, kind)
	var ts []string
	switch {
	case kind == oneImage && (err != nil || len(es) > 0):
		ts = append(ts, manifestTarget(name))
	case err != nil:
		ts = append(ts, indexName)
	}
	for _, e := range eachOnce(es) {
		ts = append(ts, e.target)
	}
	return ts
}
