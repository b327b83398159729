package fs

import (
	"context"
	"errors"
	"slices"

	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
)

// hostsDir is the root of a mount of all registries.
type hostsDir struct{ place }

func (d *hostsDir) Attr() node.Attr { return d.listAttr(d.namesList()) }

// Lookup finds any valid host, without a request to it.
func (d *hostsDir) Lookup(_ context.Context, name string) (node.Child, error) {
	h, err := parseHostName(name)
	if err != nil {
		return node.Child{}, err
	}
	return node.Child{Name: name, Entry: &namespace{place: d.at(name), host: d.tree.known.Host(h)}, TTL: forever}, nil
}

// List lists the hosts that this mount has visited, and those with credentials.
func (d *hostsDir) List(ctx context.Context) (node.Listing, error) {
	hosts := d.tree.known.Hosts()
	if d.tree.opts.Hosts != nil {
		hosts = append(hosts, d.tree.opts.Hosts()...)
	}
	var names []string
	for _, h := range hosts {
		name := hostName(h)
		if _, err := parseHostName(name); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	d.tree.known.SawList(d.namesList(), names)
	return listNames(names, func(name string) (node.Child, error) { return d.Lookup(ctx, name) }), nil
}

// withControl is a root with .ocifs/ next to its other children.
type withControl struct {
	node.Directory
	control node.Child
}

func (w *withControl) Attr() node.Attr {
	a := w.Directory.Attr()
	a.Identity = node.RootIdentity
	return a
}

func (w *withControl) Lookup(ctx context.Context, name string) (node.Child, error) {
	if name == controlName {
		return w.control, nil
	}
	return w.Directory.Lookup(ctx, name)
}

func (w *withControl) List(ctx context.Context) (node.Listing, error) {
	l, err := w.Directory.List(ctx)
	// The root is there even if its repository isn't yet.
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return node.Listing{}, err
	}
	names := append([]string{controlName}, l.Names...)
	return node.Listing{Names: names, Child: func(name string) node.Child {
		if name == controlName {
			return w.control
		}
		return l.Child(name)
	}}, nil
}
