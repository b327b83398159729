package fs

import (
	"strings"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
)

// repositoryEntries is what a repository's directory has, and how each entry is made. A new
// kind of directory is a file of its own and a row here. A repository component of the same
// name is written with a leading underscore from then on; see reserved.
var repositoryEntries []repositoryEntry

// init makes the table: directories write paths by it, which Go takes for a cycle otherwise.
func init() {
	repositoryEntries = []repositoryEntry{
		{name: blobsName, make: newBlobsDir},
		{name: manifestsName, make: newManifestsDir},
		{name: referrersName, make: newReferrersDir},
		{name: tagsName, make: newTagsDir},
		{name: uploadName, make: newUploadDir, writes: true},
	}
}

// repositoryEntry is a row of repositoryEntries.
type repositoryEntry struct {
	name string
	make func(at place, r known.Repository) node.Directory
	// writes says that programs write there: a read-only mount doesn't have it.
	writes bool
}

// repositoryEntry gives the entry of a repository that has a name, or nil.
func (t *Tree) repositoryEntry(at place, r ref.Repository, name string) node.Directory {
	for _, e := range repositoryEntries {
		if e.name == name && !(e.writes && t.opts.ReadOnly) {
			return e.make(at, t.known.Repository(r))
		}
	}
	return nil
}

// repositoryNames gives the names of a repository's entries.
func (t *Tree) repositoryNames() (names []string) {
	for _, e := range repositoryEntries {
		if !(e.writes && t.opts.ReadOnly) {
			names = append(names, e.name)
		}
	}
	return names
}

// treePath is where a repository stands in a tree of all registries.
func treePath(r ref.Repository) string {
	p := hostName(r.Host)
	for c := range strings.SplitSeq(r.Path, "/") {
		p += "/" + componentName(c)
	}
	return p
}

// pathOf is where something of a host, or of a repository of it, stands in this tree. repo is
// the repository's path, or "", below the path below the repository.
func (t *Tree) pathOf(host, repo, below string) string {
	if repo == "" {
		p, _ := t.fromRoot(hostName(host))
		return p
	}
	for _, path := range spellings(ref.Repository{Host: host, Path: repo}) {
		if p, ok := t.fromRoot(treePath(ref.Repository{Host: host, Path: path})); ok {
			return node.Join(p, below)
		}
	}
	return ""
}

// fromRoot gives a path of a tree of all registries as a path of this tree. ok is false if
// the root stands elsewhere; the path is that of the root then.
func (t *Tree) fromRoot(path string) (below string, ok bool) {
	switch {
	case t.spelled == "":
		return path, true
	case path == t.spelled:
		return "", true
	case strings.HasPrefix(path, t.spelled+"/"):
		return strings.TrimPrefix(path, t.spelled+"/"), true
	}
	return "", false
}
