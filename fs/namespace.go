package fs

import (
	"context"
	"maps"
	"slices"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
)

// namespace is a directory of a host or below it. It has the components below, and the entries of
// the repository with its name. Whether that repository exists is asked for a listing, but not
// for a lookup. So a private repository that no catalog lists can be entered.
type namespace struct {
	place
	host known.Host
	path string // as typed: "", "library", "library/alpine"
}

func (d *namespace) Attr() node.Attr { return d.listAttr(d.namesList()) }

// Lookup finds any valid component, and the entries that any repository has. It sends no request.
func (d *namespace) Lookup(_ context.Context, name string) (node.Child, error) {
	if r, err := ref.NewRepository(d.host.Name, d.path); d.path != "" && err == nil {
		if e := d.tree.repositoryEntry(d.at(name), r, name); e != nil {
			return node.Child{Name: name, Entry: e, TTL: forever}, nil
		}
	}
	c, ok := parseComponentName(name)
	if !ok {
		return node.Child{}, d.tree.capitals.missing(d.Path(), name, d.tree.opts.now())
	}
	path := node.Join(d.path, c)
	if _, err := ref.NewRepository(d.host.Name, path); err != nil {
		return node.Child{}, err
	}
	return node.Child{Name: name, Entry: &namespace{d.at(name), d.host, path}, TTL: forever}, nil
}

// List lists the components below that the catalog or this mount knows. If the registry confirms
// the repository, it also lists the repository's entries.
func (d *namespace) List(ctx context.Context) (node.Listing, error) {
	ns, err := d.host.Look(ctx, d.path)
	if err != nil {
		return node.Listing{}, err
	}
	names := map[string]bool{}
	for _, c := range ns.Below {
		names[componentName(c)] = true
	}
	if ns.IsRepository {
		for _, name := range d.tree.repositoryNames() {
			names[name] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(names))
	d.tree.known.SawList(d.namesList(), sorted)
	return listNames(sorted, func(name string) (node.Child, error) { return d.Lookup(ctx, name) }), nil
}
