package fs

import (
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
)

// staleWait is how long a push waits for the kernel to take in what has changed. A lookup in
// the same directory that waits for its registry holds that up.
const staleWait = time.Second

func staleTag(tag string) node.Stale { return node.Stale{Dir: tagsName, Name: tag} }

// staleTagList is the time of tags/.
var staleTagList = node.Stale{Dir: tagsName}

func staleDigest(in string, d digest.Digest) node.Stale {
	return node.Stale{Dir: in + "/" + d.Algorithm().String(), Name: d.Encoded()}
}

// newDigest is a name that the kernel may believe to be missing, and that is there for good
// from now on.
func newDigest(in string, d digest.Digest) node.Stale {
	e := staleDigest(in, d)
	e.Appeared = true
	return e
}

// outdate makes the kernel look up names of a repository anew, under all spellings of the
// repository's path. The directories of entries are below the repository. done is closed when
// the kernel is going to; see node.Kernel.Outdate.
func (t *Tree) outdate(r ref.Repository, entries ...node.Stale) (done <-chan struct{}) {
	var all []node.Stale
	for _, dir := range t.shownAt(r) {
		for _, e := range entries {
			e.Dir = node.Join(dir, e.Dir)
			all = append(all, e)
		}
	}
	return t.kernel.Outdate(all)
}

// await waits for the kernel to take in what has changed, for staleWait at most.
func (t *Tree) await(done <-chan struct{}) {
	bound := time.NewTimer(staleWait)
	defer bound.Stop()
	select {
	case <-done:
	case <-bound.C:
	}
}

// shownAt gives the paths at which the kernel may know a repository. A host may have been
// looked up by more than one name.
func (t *Tree) shownAt(r ref.Repository) (dirs []string) {
	hosts := []string{hostName(r.Host)}
	if t.spelled == "" {
		hosts = slices.DeleteFunc(t.kernel.Names(""), func(name string) bool {
			h, err := parseHostName(name)
			return err != nil || h != r.Host
		})
	}
	for _, path := range spellings(r) {
		_, below, _ := strings.Cut(treePath(ref.Repository{Host: r.Host, Path: path}), "/")
		for _, host := range hosts {
			if dir, ok := t.fromRoot(node.Join(host, below)); ok {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// spellings are the paths that a repository can be entered by: Docker Hub's official images go
// without their namespace as well.
func spellings(r ref.Repository) []string {
	paths := []string{r.Path}
	if short, ok := strings.CutPrefix(r.Path, "library/"); ok && r.Host == ref.DockerHub && !strings.Contains(short, "/") {
		paths = append(paths, short)
	}
	return paths
}
