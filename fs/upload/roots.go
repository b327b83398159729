package upload

import (
	"runtime"
	"weak"

	"github.com/ocifs/ocifs/registry/ref"
)

// Roots of most repositories are never used for a push. So the area holds a Root only from
// when something of it is staged or changed. Until then it has a weak pointer to the Root, so
// that all who hold nodes of the repository see the same ones.

// Root gives upload/ of a repository. As long as nothing of the repository is staged or
// changed, the area forgets it when nobody holds a node of it.
func (a *Area) Root(repo ref.Repository) *Dir {
	a.mu.Lock()
	defer a.mu.Unlock()
	if root := a.rootLocked(repo); root != nil {
		return root.top
	}
	root := newRoot(a, repo)
	of := idleRoot{repo, weak.Make(root)}
	a.idle[repo] = of.root
	runtime.AddCleanup(root, a.dropIdle, of)
	return root.top
}

// Top gives the attributes and the ID of upload/ of a repository. It makes no Root, and waits
// for no I/O.
func (a *Area) Top(repo ref.Repository) (attr Attr, id uint64) {
	if root := a.root(repo); root != nil {
		return root.top.Attr(), root.top.ID()
	}
	return Attr{Mode: topMode, UID: a.uid, GID: a.gid, Mtime: a.o.Start}, topID
}

// root gives the Root of a repository; nil: there is none.
func (a *Area) root(repo ref.Repository) *Root {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rootLocked(repo)
}

// rootLocked is root for callers that hold mu.
func (a *Area) rootLocked(repo ref.Repository) *Root {
	if root := a.roots[repo]; root != nil {
		return root
	}
	return a.idle[repo].Value()
}

// retain makes the area hold a Root until the area ends.
func (a *Area) retain(r *Root) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roots[r.repo] = r
	delete(a.idle, r.repo)
}

// idleRoot names a Root that the area doesn't hold.
type idleRoot struct {
	repo ref.Repository
	root weak.Pointer[Root]
}

// dropIdle drops the weak pointer to a Root that is gone.
func (a *Area) dropIdle(of idleRoot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.idle[of.repo] == of.root {
		delete(a.idle, of.repo)
	}
	if len(a.idle) == 0 {
		a.idle = map[ref.Repository]weak.Pointer[Root]{} // an empty map keeps its memory
	}
}

// Deleted notes that a tag or a digest was deleted at the registry. Staging it again then
// pushes it again.
func (a *Area) Deleted(repo ref.Repository, target string) {
	if root := a.root(repo); root != nil {
		root.deleted(target)
	}
}
