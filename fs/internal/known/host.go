package known

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ocifs/ocifs/registry"
)

const (
	// refusedFor is how long a catalog that was refused isn't asked for again.
	refusedFor = 5 * time.Minute
	// failedFor is how long a catalog that failed isn't asked for again by callers that can do
	// without it.
	failedFor = 30 * time.Second
	// catalogPatience is how long a caller that can do without it waits for a catalog.
	catalogPatience = 3 * time.Second
)

// Host is one registry as a mount knows it. It is a name alone, as a Repository is.
type Host struct {
	Name string
	rs   *Registries
}

// hostState is what is known of a host that was asked for its catalog.
type hostState struct {
	answered bool      // it has been reached
	failed   time.Time // when its catalog last failed; zero: it didn't
}

// catalog is the repositories that a registry names.
type catalog struct {
	Answer
	paths paths
	whole bool // a repository that it doesn't name isn't there
}

// Hosts lists the hosts of which something was seen, sorted.
func (rs *Registries) Hosts() []string {
	hosts := rs.visits.hosts()
	rs.hosts.each(func(name string, s hostState) bool {
		if s.answered {
			hosts = append(hosts, name)
		}
		return true
	})
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// known is the catalog that was last told, or the zero value.
func (h Host) known() catalog { return h.rs.catalogs.Get(h.Name) }

// catalog lists the repositories that the registry names, all pages. A registry that refuses
// to is one that names none, or no more.
func (h Host) catalog(ctx context.Context) (catalog, error) {
	if c := h.known(); c.Believed(h.rs.now()) {
		return c, nil
	}
	c, err := h.rs.listing.do(ctx, h.Name, h.askPages)
	if registry.OutOfReach(err) {
		if old, ok := h.oldCatalog(err); ok {
			return old, nil
		}
	}
	return c, err
}

// askPages asks for the catalog.
func (h Host) askPages(ctx context.Context) (catalog, error) {
	named, err := h.pages(ctx)
	c := catalog{paths: newPaths(h.Name, named), whole: err == nil}
	ttl := h.rs.o.ListTTL
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return catalog{}, err
	case errors.Is(err, registry.ErrDenied), errors.Is(err, registry.ErrNotFound), errors.Is(err, registry.ErrUnsupported):
		h.rs.log.Debug("no catalog", "host", h.Name, "cause", err)
		ttl = refusedFor
	case h.fails(len(c.paths)):
		ttl = shownFor
		h.rs.o.Notify(Notice{
			Host: h.Name, Op: "opendir", Hint: "try again later: the catalog broke off, and what came of it is listed",
			Err: fmt.Errorf("listing the first %d repositories: %w", len(c.paths), err),
		})
	default:
		return catalog{}, err
	}
	c.Answer = h.rs.answered(ttl)
	h.rs.hosts.update(h.Name, func(s hostState, _ bool) (hostState, bool) {
		s.answered = true
		if c.whole {
			s.failed = time.Time{}
		}
		return s, true
	})
	h.rs.catalogs.Add(h.Name, c)
	return c, nil
}

// pages gives the names of the catalog's pages, as far as these came.
func (h Host) pages(ctx context.Context) (named []string, err error) {
	for page, err := range h.rs.o.Client.Catalog(ctx, h.Name) {
		if err != nil {
			return named, err
		}
		named = append(named, page...)
	}
	return named, nil
}

// fails notes that the catalog failed, and says whether the names that came, so many, are
// more than were known.
func (h Host) fails(came int) bool {
	h.rs.hosts.update(h.Name, func(s hostState, _ bool) (hostState, bool) {
		s.failed = h.rs.now()
		return s, true
	})
	last := h.known()
	return !last.whole && came > len(last.paths)
}

// oldCatalog is the catalog as it was: the registry is out of reach, as err says.
func (h Host) oldCatalog(err error) (catalog, bool) {
	last := h.known()
	if !last.whole && len(last.paths) == 0 {
		return catalog{}, false
	}
	tell := false
	c := h.rs.catalogs.update(h.Name, func(c catalog) catalog {
		tell = c.showOn(h.rs.now())
		return c
	})
	if tell {
		h.rs.showing(Notice{Host: h.Name, Op: "opendir"}, "the catalog", c.Since, err)
	}
	return c, true
}

// asking is a catalog that is on its way to a caller that may leave before.
type asking struct {
	host   Host
	cancel context.CancelFunc // nil: the catalog was at hand, or isn't asked for
	came   chan struct{}      // closed when catalog and err are there
	catalog
	err error
}

// askCatalog asks for the catalog, if it isn't known, or failed moments ago. The answer is for
// the next caller as well, whoever waits for it now.
func (h Host) askCatalog() *asking {
	a := &asking{host: h, came: make(chan struct{})}
	state, _ := h.rs.hosts.get(h.Name)
	now := h.rs.now()
	if h.known().Believed(now) || now.Sub(state.failed) < failedFor {
		return a
	}
	ctx, cancel := context.WithCancel(h.rs.life)
	a.cancel = cancel
	h.rs.errands.Go(func() {
		defer cancel()
		defer close(a.came)
		a.err = catch(h.rs.o.Panicked, func() (err error) {
			a.catalog, err = a.host.catalog(ctx)
			return err
		})
	})
	return a
}

// wait waits for the catalog, and asks for it where that wasn't done.
func (a *asking) wait(ctx context.Context) (catalog, error) {
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

// soon gives the catalog to a caller that can do without it: where it takes long, or failed
// moments ago, the last that is known.
func (a *asking) soon(ctx context.Context) (catalog, error) {
	if a.cancel == nil {
		return a.host.known(), nil
	}
	patience := time.NewTimer(a.host.rs.patience)
	defer patience.Stop()
	select {
	case <-a.came:
		return a.catalog, a.err
	case <-ctx.Done():
		return catalog{}, ctx.Err()
	case <-patience.C:
		a.host.rs.log.Debug("the catalog takes long", "host", a.host.Name)
		return a.host.known(), nil
	}
}

// leave ends the asking for a caller that was interrupted. Where its patience alone ended, the
// catalog is for the next caller.
func (a *asking) leave(ctx context.Context) {
	if a.cancel != nil && ctx.Err() != nil {
		a.cancel()
	}
}
