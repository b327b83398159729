package fs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ocifs/ocifs/registry"
)

const (
	// refusedFor is how long a catalog that was refused isn't asked for again, and
	// failedFor one that failed, by who can do without.
	refusedFor = 5 * time.Minute
	failedFor  = 30 * time.Second
	// catalogPatience is how long who can do without it waits for a catalog.
	catalogPatience = 3 * time.Second
)

// host is what this mount knows of one registry. It is safe for concurrent use.
type host struct {
	tree     *Tree
	name     string
	patience time.Duration
	answered atomic.Bool // it has been reached

	listing flight[struct{}, catalog]
	mu      sync.Mutex
	last    catalog
	failed  time.Time // when it last did
}

// catalog is the repositories that a registry names.
type catalog struct {
	belief
	paths paths
	whole bool // what it doesn't name isn't there
}

func (h *host) place() place {
	if h.tree.prefix != "" { // it is the root itself, or above it
		return place{tree: h.tree}
	}
	return place{h.tree, hostName(h.name)}
}

// catalog lists the repositories that the registry names, all pages. A registry
// that refuses to is one that names none, or no more.
func (h *host) catalog(ctx context.Context) (catalog, error) {
	if c := h.known(); c.believed() {
		return c, nil
	}
	c, err := h.listing.do(ctx, struct{}{}, h.list)
	if registry.OutOfReach(err) {
		if old, ok := h.old(ctx, err); ok {
			return old, nil
		}
	}
	return c, err
}

// list asks for the catalog.
func (h *host) list(ctx context.Context) (catalog, error) {
	named, err := h.pages(ctx)
	c := catalog{belief: believe(h.tree.opts.ListTTL), paths: newPaths(h.name, named), whole: err == nil}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return catalog{}, err
	case errors.Is(err, registry.ErrDenied), errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrUnsupported):
		h.tree.log.Debug("no catalog", "host", h.name, "cause", err)
		c.belief = believe(refusedFor)
	case h.fails(len(c.paths)):
		c.belief = believe(shownFor)
		h.place().tell(ctx, "opendir", "try again later: the catalog broke off, and what came of it is listed",
			fmt.Errorf("listing the first %d repositories: %w", len(c.paths), err))
	default:
		return catalog{}, err
	}
	h.answered.Store(true)
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.told = time.Now(); c.whole {
		c.expires, h.failed = c.told.Add(h.tree.opts.ListTTL), time.Time{}
	}
	h.last = c
	return c, nil
}

// pages gives the names of the catalog's pages, as far as these came.
func (h *host) pages(ctx context.Context) (named []string, err error) {
	for page, err := range h.tree.client.Catalog(ctx, h.name) {
		if err != nil {
			return named, err
		}
		named = append(named, page...)
	}
	return named, nil
}

// fails remembers that the catalog failed, and says whether what came of it, so many
// names, is more than was known.
func (h *host) fails(came int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = time.Now()
	return !h.last.whole && came > len(h.last.paths)
}

func (h *host) known() catalog {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// old is the catalog as it was: the registry is out of reach, as err says.
func (h *host) old(ctx context.Context, err error) (catalog, bool) {
	h.mu.Lock()
	known := h.last.whole || len(h.last.paths) > 0
	tell := known && h.last.showOn()
	c := h.last
	h.mu.Unlock()
	if tell {
		h.place().showing(ctx, "opendir", "the catalog", c.told, err)
	}
	return c, known
}

// asked is a catalog that is on its way to one who may leave before.
type asked struct {
	host   *host
	cancel context.CancelFunc // nil: it was at hand, or isn't asked for
	came   chan struct{}      // closed when it did
	catalog
	err error
}

// askCatalog asks for the catalog, if it isn't known, or failed moments ago. What
// comes of that counts for who asks next, whoever waits for it now.
func (h *host) askCatalog() *asked {
	a := &asked{host: h, came: make(chan struct{})}
	h.mu.Lock()
	recently := time.Since(h.failed) < failedFor
	h.mu.Unlock()
	if h.known().believed() || recently {
		return a
	}
	a.ask()
	return a
}

func (a *asked) ask() {
	ctx, cancel := context.WithCancel(a.host.tree.life)
	a.cancel = cancel
	a.host.tree.errands.Go(func() {
		defer cancel()
		defer close(a.came)
		a.catalog, a.err = a.host.catalog(ctx)
	})
}

// wait waits for the catalog, and asks for it where that wasn't done.
func (a *asked) wait(ctx context.Context) (catalog, error) {
	if a.cancel == nil {
		return a.host.catalog(ctx)
	}
	select {
	case <-a.came:
		return a.catalog, a.err
	case <-ctx.Done():
		return catalog{}, ctx.Err()
	}
}

// soon is the catalog for who can do without: where it takes long, or failed moments
// ago, the last that is known.
func (a *asked) soon(ctx context.Context) (catalog, error) {
	if a.cancel == nil {
		return a.host.known(), nil
	}
	patience := time.NewTimer(a.host.patience)
	defer patience.Stop()
	select {
	case <-a.came:
		return a.catalog, a.err
	case <-ctx.Done():
		return catalog{}, ctx.Err()
	case <-patience.C:
		a.host.tree.log.Debug("the catalog takes long", "host", a.host.name)
		return a.host.known(), nil
	}
}

// leave ends the asking where the one who asked was interrupted. Where patience
// alone ended, the catalog is for who asks next.
func (a *asked) leave(ctx context.Context) {
	if a.cancel != nil && ctx.Err() != nil {
		a.cancel()
	}
}
