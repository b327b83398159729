package fs

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/node"
)

// view is the children of a directory at one moment.
type view interface {
	Lookup(ctx context.Context, name string) (node.Child, error)
	List(ctx context.Context) (node.Listing, error)
}

// lazy has the children of a directory. It makes them when somebody looks into the directory.
type lazy struct {
	// has says whether a child with this name is possible. For other names, load isn't
	// called.
	has  func(name string) bool
	load func(ctx context.Context) (view, error)
}

func (l lazy) Lookup(ctx context.Context, name string) (node.Child, error) {
	if !l.has(name) {
		return node.Child{}, node.ErrNotExist
	}
	v, err := l.load(ctx)
	if err != nil {
		return node.Child{}, err
	}
	return v.Lookup(ctx, name)
}

func (l lazy) List(ctx context.Context) (node.Listing, error) {
	v, err := l.load(ctx)
	if err != nil {
		return node.Listing{}, err
	}
	return v.List(ctx)
}

// children are the children of a view, all in memory.
type children []node.Child

// add adds a child whose name never means anything else.
func (cs *children) add(name string, e node.Entry) {
	*cs = append(*cs, node.Child{Name: name, Entry: e, TTL: forever})
}

func (cs children) Lookup(_ context.Context, name string) (node.Child, error) {
	for _, c := range cs {
		if c.Name == name {
			return c, nil
		}
	}
	return node.Child{}, node.ErrNotExist
}

func (cs children) List(context.Context) (node.Listing, error) { return node.List(cs), nil }

// fixed is a directory whose children are known when it is made.
type fixed struct {
	place
	// version is the digest of what it shows; "" if that never changes.
	version digest.Digest
	children
}

func (d *fixed) Attr() node.Attr { return d.dirAttr(d.version) }

// listNames makes a listing of sorted names. find finds each of them.
func listNames(names []string, find func(name string) (node.Child, error)) node.Listing {
	return node.Listing{Names: names, Child: func(name string) node.Child {
		c, err := find(name)
		if err != nil { // can't happen: it is one of the names
			panic(err)
		}
		return c
	}}
}
