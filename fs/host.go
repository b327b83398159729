package fs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// hostsDir is the root of all registries.
type hostsDir struct{ place }

func (d *hostsDir) stat() stat { return d.listStat("", d.namesList()) }

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
	l := listChildren(unique(cs))
	d.sawNames(l.names)
	return l, nil
}

// sawNames notes the names that a directory of hosts, components or repositories lists.
func (p place) sawNames(names []string) {
	p.tree.lists.saw(p.namesList(), fingerprint(names), time.Now().Add(p.tree.opts.ListTTL))
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

// namespace is a directory of a host or below: its components, and the entries
// of the repository of that name. Whether there is one is asked when it is
// listed, not when it is looked up: a private repository that no catalog lists
// can be entered.
type namespace struct {
	place
	host *host
	path string // as spelled: "", "library", "library/alpine"
}

func (d *namespace) stat() stat { return d.listStat("", d.namesList()) }

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
// where the registry confirms the repository, its entries. Those wait for no catalog
// that is slow or has failed; and what is neither a repository nor on the way to one
// doesn't exist, where a whole catalog can tell that.
func (d *namespace) list(ctx context.Context) (listing, error) {
	names := map[string]bool{}
	var c catalog
	var absent, failed error // the repository, the catalog
	repo, ok := d.repository()
	if d.path == "" || !ok || d.hubNamespace() {
		absent = errNotExist
		c, failed = d.host.catalog(ctx)
	} else {
		asked := d.host.askCatalog()
		defer asked.leave(ctx)
		if absent = d.confirmed(ctx, repo); absent == nil {
			d.addEntries(names, repo)
			c, failed = asked.soon(ctx)
		} else if ctx.Err() == nil {
			c, failed = asked.wait(ctx)
		}
	}
	if ctx.Err() != nil {
		return listing{}, ctx.Err()
	}
	if errors.Is(absent, registry.ErrUnsupported) && c.paths.has(repo.Path) {
		absent = nil
		d.addEntries(names, repo)
	}
	entries := len(names)
	d.addBelow(names, c.paths)
	below := len(names) > entries
	switch {
	case failed != nil && (below || absent == nil):
		d.tell(ctx, "opendir", "what this mount has visited is listed until the registry can be asked", failed)
	case failed != nil && (d.path == "" || errors.Is(absent, registry.ErrNotFound)):
		return listing{}, failed // there may be something that it would have named
	}
	switch {
	case absent == nil, absent == errNotExist, below:
		// A repository, or a directory on the way to some.
	case errors.Is(absent, registry.ErrNotFound) && (!c.whole || c.old):
		// It may be on the way to repositories that nothing lists.
	default:
		return listing{}, absent
	}
	sorted := slices.Sorted(maps.Keys(names))
	d.sawNames(sorted)
	return listNames(sorted, func(name string) (child, error) { return d.lookup(ctx, name) }), nil
}

// confirmed asks whether the registry has the repository. Where the registry is out of reach,
// or doesn't list tags, its last word counts. A person is told that it is out of reach.
func (d *namespace) confirmed(ctx context.Context, repo *repository) error {
	err := repo.exists(ctx)
	out := registry.OutOfReach(err)
	if !out && !refuses(err) {
		return err
	}
	seen, tell := d.tree.oldVisit(repo.Repository)
	switch {
	case seen.IsZero() && errors.Is(err, registry.ErrUnsupported):
		return fmt.Errorf("nothing tells of such a repository: %w: %w", registry.ErrNotFound, err)
	case seen.IsZero():
		return err
	case out && tell:
		d.showing(ctx, "opendir", "the repository", seen, err)
	}
	return nil
}

// addEntries adds the entries of a repository.
func (d *namespace) addEntries(names map[string]bool, repo *repository) {
	for _, n := range repositoryEntries {
		if d.entry(repo, n) != nil {
			names[n] = true
		}
	}
}

// addBelow adds the components below of repositories that a catalog names or this
// mount has visited.
func (d *namespace) addBelow(names map[string]bool, named paths) {
	for c := range named.below(d.path) {
		names[componentName(c)] = true
	}
	for _, c := range d.tree.visitedBelow(d.host.name, d.path) {
		names[componentName(c)] = true
	}
}

// hubNamespace says whether this is the directory of Docker Hub's official
// images, which as a repository would be library/library.
func (d *namespace) hubNamespace() bool {
	return d.host.name == ref.DockerHub && d.path == "library"
}
