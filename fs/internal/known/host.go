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
	// refusedFor is how long a refused catalog is not asked for again.
	refusedFor = 5 * time.Minute
	// failedFor is how long a failed catalog is not asked for again by callers that can do
	// without it.
	failedFor = 30 * time.Second
	// catalogPatience is how long a caller that can do without a catalog waits for it.
	catalogPatience = 3 * time.Second
)

// Host is one registry as a mount knows it. Like a Repository, it is only a name.
type Host struct {
	Name string
	rs   *Registries
}

// hostState is the state of a host that was asked for its catalog.
type hostState struct {
	answered bool      // it has been reached
	failed   time.Time // when its catalog last failed; zero: it didn't
}

// catalog has the repositories that a registry lists.
type catalog struct {
	Answer
	paths paths
	whole bool // all repositories are in it
}

// Hosts gives the sorted hosts of which something was seen.
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

// known gives the last catalog, believed or not, or the zero value.
func (h Host) known() catalog { return h.rs.catalogs.Get(h.Name) }

// catalog lists the repositories in the registry's catalog, all pages. If the registry refuses,
// the catalog has the names that came before the refusal.
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

// askPages asks the registry for the catalog.
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

// pages gives the names on the pages of the catalog. After an error, it gives those that came
// before.
func (h Host) pages(ctx context.Context) (named []string, err error) {
	for page, err := range h.rs.o.Client.Catalog(ctx, h.Name) {
		if err != nil {
			return named, err
		}
		named = append(named, page...)
	}
	return named, nil
}

// fails notes that the catalog failed. It says whether the number of names that came is larger
// than what was known.
func (h Host) fails(came int) bool {
	h.rs.hosts.update(h.Name, func(s hostState, _ bool) (hostState, bool) {
		s.failed = h.rs.now()
		return s, true
	})
	last := h.known()
	return !last.whole && came > len(last.paths)
}

// oldCatalog gives the last catalog, because the registry is out of reach, as err says. ok is
// false if there is none.
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

// asking is a request for a catalog. Its caller may leave before the catalog has come.
type asking struct {
	host Host
	// cancel is nil if the catalog was known, or isn't asked for.
	cancel context.CancelFunc
	came   chan struct{} // closed when catalog and err are set
	catalog
	err error
}

// askCatalog asks for the catalog, unless it is known or failed moments ago. If this caller stops
// waiting, the answer is still there for the next caller.
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

// wait waits for the catalog. If askCatalog didn't ask for it, wait does.
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

// soon gives the catalog to a caller that can do without it. If the catalog takes long, or failed
// moments ago, it gives the last one.
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

// leave cancels the request if the caller was interrupted. If only its patience is over, the
// request goes on for the next caller.
func (a *asking) leave(ctx context.Context) {
	if a.cancel != nil && ctx.Err() != nil {
		a.cancel()
	}
}
