package known

import (
	"context"
	"errors"
	"slices"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// Namespace is what is known of a path of a host.
type Namespace struct {
	// IsRepository says that the registry has a repository with this path, or may have one
	// but can't be asked now.
	IsRepository bool
	// Below has the sorted components directly below the path, of repositories in the catalog
	// and of those that this mount has visited.
	Below []string
}

// Look finds out what is at a path of the host, and below it. "" is the host itself. If the path
// is a repository, Look doesn't wait long for the catalog, which may be slow or fail. If it isn't
// one, the path doesn't exist if a complete catalog has nothing below it.
func (h Host) Look(ctx context.Context, path string) (Namespace, error) {
	r, err := ref.NewRepository(h.Name, path)
	if path == "" || err != nil || h.hubNamespace(path) {
		return h.lookBelow(ctx, path)
	}
	repo := h.rs.Repository(r)
	asking := h.askCatalog()
	defer asking.leave(ctx)
	var c catalog
	var failed error // of the catalog
	absent := repo.confirmed(ctx)
	if absent == nil {
		c, failed = asking.soon(ctx)
	} else if ctx.Err() == nil {
		c, failed = asking.wait(ctx)
	}
	if ctx.Err() != nil {
		return Namespace{}, ctx.Err()
	}
	if errors.Is(absent, registry.ErrUnsupported) && c.paths.has(r.Path) {
		absent = nil
	}
	ns := Namespace{IsRepository: absent == nil, Below: h.below(c, path)}
	onTheWay := len(ns.Below) > 0
	switch {
	case failed != nil && (onTheWay || absent == nil):
		h.listVisited(r.Path, failed)
	case failed != nil && errors.Is(absent, registry.ErrNotFound):
		return Namespace{}, failed // the catalog might have named something there
	}
	// A path that isn't found may lead to repositories that nothing lists, unless a complete
	// catalog is at hand.
	mayBeOnTheWay := errors.Is(absent, registry.ErrNotFound) && (!c.whole || c.Old)
	if absent == nil || onTheWay || mayBeOnTheWay {
		return ns, nil
	}
	return Namespace{}, absent
}

// lookBelow is Look for a path that can't be a repository.
func (h Host) lookBelow(ctx context.Context, path string) (Namespace, error) {
	c, err := h.catalog(ctx)
	if ctx.Err() != nil {
		return Namespace{}, ctx.Err()
	}
	ns := Namespace{Below: h.below(c, path)}
	switch {
	case err != nil && len(ns.Below) > 0:
		h.listVisited(path, err)
	case err != nil && path == "":
		return Namespace{}, err
	}
	return ns, nil
}

// listVisited reports that the catalog failed, so that a path shows only what was visited.
func (h Host) listVisited(path string, err error) {
	h.rs.o.Notify(Notice{
		Host: h.Name, Path: path, Op: "opendir",
		Hint: "what this mount has visited is listed until the registry can be asked", Err: err,
	})
}

// below gives the sorted components directly below a path.
func (h Host) below(c catalog, path string) []string {
	names := h.rs.visits.below(h.Name, path)
	for component := range c.paths.below(path) {
		names = append(names, component)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// hubNamespace says whether a path is the namespace of Docker Hub's official images. As a
// repository it would mean library/library.
func (h Host) hubNamespace(path string) bool { return h.Name == ref.DockerHub && path == "library" }
