package fs

import (
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
)

// staleWait is how long a push waits at most for the kernel to take in a change. A lookup in the
// same directory that waits for its registry makes the kernel wait too.
const staleWait = time.Second

func staleTag(tag string) node.Stale { return node.Stale{Dir: tagsName, Name: tag} }

// staleArchive is the archive of what a tag points at.
func staleArchive(tag string) node.Stale {
	return node.Stale{Dir: archivesName, Name: tag + archiveSuffix}
}

// staleArchiveByDigest is the archive of a manifest that appeared or is gone. Its archives with a
// tag in their names aren't told: their tags aren't known.
func staleArchiveByDigest(d digest.Digest, appeared bool) node.Stale {
	return node.Stale{Dir: archivesName, Name: archiveName("", d), Appeared: appeared}
}

// staleTagList is the modification time of tags/.
var staleTagList = node.Stale{Dir: tagsName}

func staleDigest(in string, d digest.Digest) node.Stale {
	return node.Stale{Dir: in + "/" + d.Algorithm().String(), Name: d.Encoded()}
}

// newDigest is a name that now exists for good, although the kernel may believe that it is
// missing.
func newDigest(in string, d digest.Digest) node.Stale {
	e := staleDigest(in, d)
	e.Appeared = true
	return e
}

// staleAfter gives the names that a push or a deletion made stale: the list of tags before its
// tags. manifest makes the name of the manifest, which has appeared or is gone.
func staleAfter(c known.Changed, manifest func(in string, d digest.Digest) node.Stale) (entries []node.Stale) {
	if c.TagList {
		entries = append(entries, staleTagList)
	}
	if c.Manifest != "" {
		m := manifest(manifestsName, c.Manifest)
		entries = append(entries, m, manifest(blobsName, c.Manifest), staleArchiveByDigest(c.Manifest, m.Appeared))
	}
	for _, tag := range c.Tags {
		entries = append(entries, staleTag(tag), staleArchive(tag))
	}
	if c.Subject != "" {
		entries = append(entries, staleDigest(referrersName, c.Subject))
	}
	return entries
}

// outdate makes the kernel look up names of a repository again, under all spellings of the
// repository's path. The Dir of an entry is below the repository. done is closed when the kernel
// has been told; see node.Kernel.Outdate.
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

// await waits until the kernel has taken in a change, but at most for staleWait.
func (t *Tree) await(done <-chan struct{}) {
	bound := time.NewTimer(staleWait)
	defer bound.Stop()
	select {
	case <-done:
	case <-bound.C:
	}
}

// shownAt gives the paths at which the kernel may know a repository. A host may have been looked
// up under several names.
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

// spellings gives the paths by which a repository can be entered. Docker Hub's official images
// can be entered without their namespace too.
func spellings(r ref.Repository) []string {
	paths := []string{r.Path}
	if short, ok := strings.CutPrefix(r.Path, "library/"); ok && r.Host == ref.DockerHub && !strings.Contains(short, "/") {
		paths = append(paths, short)
	}
	return paths
}
