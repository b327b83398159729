package fs

import (
	"strings"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
)

// repositoryEntries are the entries of a repository's directory. A new kind of directory needs a
// file of its own and a row here. A repository component with the same name then gets a leading
// underscore; see reserved.
var repositoryEntries []repositoryEntry

// init fills the table. A declaration would be an initialization cycle for Go, because
// directories write paths with the help of the table.
func init() {
	repositoryEntries = []repositoryEntry{
		{name: archivesName, make: newArchivesDir},
		{name: blobsName, make: newBlobsDir},
		{name: manifestsName, make: newManifestsDir},
		{name: referrersName, make: newReferrersDir},
		{name: rootfsName, make: newRootfsDir},
		{name: tagsName, make: newTagsDir},
		{name: unpackedName, make: newUnpackedDir},
		{name: uploadName, make: newUploadDir, writes: true},
	}
}

// repositoryEntry is a row of repositoryEntries.
type repositoryEntry struct {
	name string
	make func(at place, r known.Repository) node.Directory
	// writes says that programs write into the entry. A read-only mount leaves it out.
	writes bool
}

// repositoryEntry gives the entry of a repository with this name; nil: there is none.
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

// treePath gives the path of a repository in a mount of all registries.
func treePath(r ref.Repository) string {
	p := hostName(r.Host)
	for c := range strings.SplitSeq(r.Path, "/") {
		p += "/" + componentName(c)
	}
	return p
}

// pathOf gives a path in this tree. It is that of a host if repo is "", else that of below in the
// repository with the path repo. It is "" if this tree doesn't show the repository.
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

// fromRoot converts a path in a mount of all registries to a path in this tree. If this tree
// doesn't have it, ok is false and below is "".
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
