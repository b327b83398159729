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

// Names in the staging directory of a mount.
const (
	lockName    = "lock"
	journalName = "pushed.jsonl"
	treeName    = "tree"
)

// line is one line of the journal. It tells where a repository is staged (Path), or what of
// it was pushed (Target).
type line struct {
	Repository string `json:"repository"`
	Path       string `json:"path,omitempty"`   // below tree/
	Target     string `json:"target,omitempty"` // tag or digest
}

// note appends a line to the journal. Concurrent writes don't mix, because the file is open
// with O_APPEND.
func (a *Area) note(l line) {
	journal := a.openJournal()
	if journal == nil {
		return
	}
	if _, err := journal.Write(append(mustMarshal(l), '\n')); err != nil {
		// A missing line makes the next mount report too much as left.
		a.log.Debug("journal of pushes not written", "cause", err)
	}
}

// openJournal gives the journal; nil: nothing is staged yet.
func (a *Area) openJournal() *os.File {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.journal
}

// noted writes to the journal that a target was pushed.
func (a *Area) noted(repo ref.Repository, target string) {
	a.note(line{Repository: repo.String(), Target: target})
}

// findLeftovers searches the directories of ended mounts. It removes those that nobody needs.
func (a *Area) findLeftovers() (found []leftover) {
	err := eachLock(a.o.Dir, func(dir string, lock *os.File) error {
		if tryLock(lock) { // its mount has ended
			found = append(found, a.look(dir)...)
		}
		return nil
	})
	if err != nil {
		a.log.Warn("the staging area can't be read", "dir", a.o.Dir, "cause", err)
	}
	return found
}

// look finds what wasn't pushed from a mount's directory. If that is nothing, look removes
// the directory.
func (a *Area) look(dir string) []leftover {
	_ = os.RemoveAll(filepath.Join(dir, adoptName)) // the registry has these bytes
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

// leftoversOf finds what wasn't pushed from a mount's directory. roots are the names of the
// repositories, by their path below tree/.
func leftoversOf(dir string, roots map[string]string, pushed map[line]bool) (found []leftover) {
	for path, repository := range roots {
		top := filepath.Join(dir, treeName, filepath.FromSlash(path), "upload")
		found = append(found, lookIn(top, repository, pushed)...)
	}
	return found
}

// readJournal reads a journal: the repositories of a mount, by their path below tree/, and
// the targets that were pushed.
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
			continue // the last line may be half written
		}
		if l.Path != "" && filepath.IsLocal(l.Path) {
			roots[l.Path] = l.Repository
		} else {
			pushed[l] = true
		}
	}
	return roots, pushed, s.Err() // half of a journal could hide what is left
}

// lookIn finds what wasn't pushed from one upload/: a record for each target of an
// index.json, and one for each other file.
func lookIn(top, repository string, pushed map[line]bool) []leftover {
	f := &finder{top: top, repository: repository, pushed: pushed, listed: map[string]bool{}}
	for _, dir := range layoutsIn(top) {
		f.findEntries(dir)
	}
	_ = filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			f.findFile(path, e)
		}
		return nil // unreadable directories are skipped
	})
	return f.found
}

// finder finds what wasn't pushed from one upload/ on the disk.
type finder struct {
	top, repository string
	pushed          map[line]bool
	found           []leftover
	// listed are the layouts that have a record. A layout whose targets were all pushed
	// has none, but it may have pieces of an image that its index.json doesn't name yet.
	listed map[string]bool
}

func (f *finder) isPushed(target string) bool {
	return f.pushed[line{Repository: f.repository, Target: target}]
}

func (f *finder) add(target, path string, st fs.FileInfo) {
	text := fmt.Sprintf("kept in %s: copy it into upload/ to push it, or remove it", path)
	f.found = append(f.found, leftover{Record{Repository: f.repository, Target: target, State: Left, Error: text, Time: st.ModTime().UTC()}, path})
}

// findEntries finds the unpushed targets of a layout's index.json.
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

// findFile finds an unpushed file, if files at its place are pushed. Files at other places
// came along with a copy, or were never whole.
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

// blobAt gives the digest at the end of a blob's path. ok is false if the path isn't a
// blob's.
func blobAt(parts []string) (d digest.Digest, ok bool) {
	n := len(parts)
	if n < 3 || parts[n-3] != blobsName {
		return "", false
	}
	d, err := ref.NewDigest(parts[n-2], parts[n-1])
	return d, err == nil
}

// layoutsIn gives the directories of an upload/ on the disk that can be layouts.
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

// manifestTarget gives the target under which a file in manifests/ is pushed.
func manifestTarget(name string) string {
	if d, ok := ref.ParseDigestName(name); ok {
		return d.String()
	}
	return name
}

// targets gives the targets of an index.json on the disk. For oneImage, the tag of the
// directory comes first.
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
