package fs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// refusedFor is how long a catalog that was refused isn't asked for again.
const refusedFor = 5 * time.Minute

// hostsDir is the root of all registries.
type hostsDir struct{ place }

func (d *hostsDir) stat() stat { return d.dirStat("", d.tree.started) }

// lookup finds any host that there could be, without asking it.
func (d *hostsDir) lookup(_ context.Context, name string) (child, error) {
	h, err := parseHostName(name)
	if err != nil {
		return child{}, err
	}
	return child{name, &namespace{place: d.at(name), host: d.tree.host(h)}, forever}, nil
}

// list names the hosts that this mount has visited and those that credentials
// are for.
func (d *hostsDir) list(ctx context.Context) (listing, error) {
	hosts := d.tree.visitedHosts()
	if d.tree.opts.Hosts != nil {
		hosts = append(hosts, d.tree.opts.Hosts()...)
	}
	var cs []child
	for _, h := range hosts {
		if c, err := d.lookup(ctx, hostName(h)); err == nil {
			cs = append(cs, c)
		}
	}
	return listChildren(unique(cs)), nil
}

// unique drops children of a name that came before.
func unique(cs []child) []child {
	seen := map[string]bool{}
	return slices.DeleteFunc(cs, func(c child) bool {
		twice := seen[c.name]
		seen[c.name] = true
		return twice
	})
}

// host is what this mount knows of one registry. It is safe for concurrent use.
type host struct {
	tree     *Tree
	name     string
	answered atomic.Bool // it has been reached

	listing flight[struct{}, []string]
	mu      sync.Mutex
	paths   []string // of its catalog
	expires time.Time
}

// catalog lists the repositories that the registry names, all pages. A registry
// that refuses to is one that names none.
func (h *host) catalog(ctx context.Context) ([]string, error) {
	if paths, ok := h.known(); ok {
		return paths, nil
	}
	return h.listing.do(ctx, struct{}{}, func(ctx context.Context) ([]string, error) {
		var paths []string
		ttl := h.tree.opts.ListTTL
		for page, err := range h.tree.client.Catalog(ctx, h.name) {
			if errors.Is(err, registry.ErrDenied) || errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrUnsupported) {
				h.tree.log.Debug("no catalog", "host", h.name, "cause", err)
				ttl = refusedFor
				break
			}
			if err != nil {
				return nil, err
			}
			paths = append(paths, page...)
		}
		h.answered.Store(true)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.paths, h.expires = paths, time.Now().Add(ttl)
		return paths, nil
	})
}

func (h *host) known() ([]string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.paths, time.Now().Before(h.expires)
}

// namespace is a directory of a host or below: its components, and the entries
// of the repository of that name. Whether there is one is asked when it is
// listed, not when it is looked up: a private repository that no catalog lists
// can be entered.
type namespace struct {
	place
	host *host
	path string // as spelled: "", "library", "library/alpine"
}

func (d *namespace) stat() stat { return d.dirStat("", d.tree.started) }

func (d *namespace) lookup(_ context.Context, name string) (child, error) {
	if d.path != "" {
		if repo, ok := d.repository(); ok {
			if e := d.entry(repo, name); e != nil {
				return child{name, e, forever}, nil
			}
		}
	}
	c, ok := parseComponentName(name)
	if !ok {
		return child{}, errNotExist
	}
	path := c
	if d.path != "" {
		path = d.path + "/" + c
	}
	if _, err := ref.NewRepository(d.host.name, path); err != nil {
		return child{}, err
	}
	return child{name, &namespace{d.at(name), d.host, path}, forever}, nil
}

func (d *namespace) repository() (*repository, bool) {
	r, err := ref.NewRepository(d.host.name, d.path)
	if err != nil {
		return nil, false
	}
	return d.tree.repository(r), true
}

// repositoryEntries are the entries of a repository directory. Where nothing can be
// written, it has no upload/.
var repositoryEntries = []string{blobsName, manifestsName, referrersName, tagsName, uploadName}

// entry gives one of repositoryEntries, or nil.
func (d *namespace) entry(repo *repository, name string) entry {
	at := d.at(name)
	switch name {
	case tagsName:
		return &tagsDir{at, repo}
	case manifestsName:
		return algorithms(at, repo, byDigest{find: (*repository).manifestByDigest, removeDir: (*repository).deleteManifest})
	case blobsName:
		return algorithms(at, repo, byDigest{find: (*repository).blobByDigest, removeFile: (*repository).deleteBlob})
	case referrersName:
		return algorithms(at, repo, byDigest{find: (*repository).referrersByDigest})
	case uploadName:
		return d.uploads(at, repo)
	}
	return nil
}

// list names the components below that the catalog or this mount know of, and,
// where the registry confirms the repository, its entries.
func (d *namespace) list(ctx context.Context) (listing, error) {
	names := map[string]bool{}
	paths, catalogErr := d.host.catalog(ctx)
	if ctx.Err() != nil {
		return listing{}, ctx.Err()
	}
	for _, p := range append(slices.Clone(paths), d.tree.visitedPaths(d.host.name)...) {
		rest, ok := strings.CutPrefix(p, d.path+"/")
		if d.path == "" {
			rest, ok = p, true
		}
		if _, err := ref.NewRepository(d.host.name, p); err != nil {
			continue // nothing that could be entered
		}
		if c, _, _ := strings.Cut(rest, "/"); ok {
			names[componentName(c)] = true
		}
	}
	if catalogErr != nil && len(names) > 0 {
		d.tell(ctx, "opendir", "what this mount has visited is listed until the registry can be asked", catalogErr)
	}
	if d.path == "" {
		if catalogErr != nil && len(names) == 0 {
			return listing{}, catalogErr
		}
	} else if repo, ok := d.repository(); ok && !d.hubNamespace() {
		switch err := repo.exists(ctx); {
		case err == nil:
			for _, n := range repositoryEntries {
				if d.entry(repo, n) != nil {
					names[n] = true
				}
			}
		case ctx.Err() != nil:
			return listing{}, err
		case errors.Is(err, registry.ErrNotFound), len(names) > 0:
			// A directory on the way to repositories, not one itself.
		default:
			return listing{}, err
		}
	}
	sorted := slices.Sorted(maps.Keys(names))
	return listing{names: sorted, child: func(name string) child {
		c, err := d.lookup(ctx, name)
		if err != nil { // can't be: the names were checked above
			panic(err)
		}
		return c
	}}, nil
}

// hubNamespace says whether this is the directory of Docker Hub's official
// images, which as a repository would be library/library.
func (d *namespace) hubNamespace() bool {
	return d.host.name == ref.DockerHub && d.path == "library"
}
