package upload

import (
	"runtime"
	"weak"

	"github.com/ocifs/ocifs/registry/ref"
)

// Most repositories that a mount shows are never pushed to. The area holds a Root from when
// something of it is staged or changed. Until then it knows the Root for as long as somebody
// else holds a node of it, so that all who do see the same.

// Root gives upload/ of a repository. The area keeps nothing of a repository of which nothing
// is staged, once nobody holds a node of it.
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

// Top gives the attributes and the ID of upload/ of a repository. It makes nothing, and waits
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

// rootLocked is root. mu is held.
func (a *Area) rootLocked(repo ref.Repository) *Root {
	if root := a.roots[repo]; root != nil {
		return root
	}
	return a.idle[repo].Value()
}

// retain has the area hold a Root until it ends.
func (a *Area) retain(r *Root) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roots[r.repo] = r
	delete(a.idle, r.repo)
}

// idleRoot is a Root that the area doesn't hold.
type idleRoot struct {
	repo ref.Repository
	root weak.Pointer[Root]
}

// dropIdle drops what is known of a Root that is gone.
func (a *Area) dropIdle(of idleRoot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.idle[of.repo] == of.root {
		delete(a.idle, of.repo)
	}
	if len(a.idle) == 0 {
		a.idle = map[ref.Repository]weak.Pointer[Root]{} // an empty map keeps the room it had
	}
}

// Deleted is to be told that a tag, or a digest, was deleted at the registry, so that
// staging it pushes it again.
func (a *Area) Deleted(repo ref.Repository, target string) {
	if root := a.root(repo); root != nil {
		root.deleted(target)
	}
}
