package known

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// Limits on what is known of all registries together, so that a mount that shows a million names
// stays small. These numbers count answers; a tag or an object takes some 300 bytes.
const (
	maxTags      = 1 << 14
	maxObjects   = 1 << 15
	maxVisited   = 1 << 15
	maxHosts     = 1 << 10
	maxRefusals  = 1 << 10
	maxListTimes = 1 << 12

	maxTagListBytes  = 16 << 20 // a list of 100,000 tags has some 3 MB
	maxCatalogBytes  = 8 << 20
	maxManifestBytes = 8 << 20
	maxReferrerBytes = 4 << 20
	maxClosureBytes  = 8 << 20

	// Overhead is the memory of one value of a Bounded besides its own bytes.
	Overhead = 1 << 10
)

// Options says how to ask registries, and how long to believe the answers. Client and Store are
// required.
type Options struct {
	Client *registry.Client
	Store  *cache.Store

	TagTTL  time.Duration // how long a tag's digest is believed
	ListTTL time.Duration // how long lists of tags, repositories and referrers are believed

	// Epoch is the time of a list that nobody has seen.
	Epoch time.Time
	// Notify is called with what a person must know and no errno says; nil: no call.
	Notify func(Notice)
	// Panicked is called with a panic in shared work and its stack; nil: no call.
	Panicked func(cause any, stack []byte)
	Logger   *slog.Logger     // nil: silent
	Now      func() time.Time // nil: time.Now
}

// Notice is a message for a person about something that no errno says.
type Notice struct {
	Host string
	// Path is that of the repository; "": the notice is about the host.
	Path string
	// Below is the path below the repository, such as "tags/v1"; "": the notice is about the
	// repository itself.
	Below string
	Op    string // the operation, such as "opendir"
	Hint  string // what to do next
	Err   error
}

// Registries is what a mount knows of all registries. It is safe for concurrent use.
type Registries struct {
	o   Options
	log *slog.Logger

	hosts     *table[string, hostState]
	catalogs  *Bounded[string, catalog]
	visits    *visits
	tags      *table[tagKey, pointer]
	objects   *table[object, presence]
	lists     *Bounded[ref.Repository, TagList]
	tagParts  *Bounded[ref.Repository, tagPart]
	refusals  *table[ref.Repository, refusal]
	manifests *Bounded[digest.Digest, *registry.Manifest]
	referrers *Bounded[digestKey, Referrers]
	closures  *Bounded[digestKey, *Closure]
	changes   *changes
	times     *listTimes
	patience  time.Duration // catalogPatience, except in tests

	listing     flight[string, catalog]
	listingTags flight[ref.Repository, TagList]
	resolving   flight[tagKey, Tag]
	fetching    flight[digestKey, *registry.Manifest]
	probing     flight[digestKey, presence]
	referring   flight[digestKey, Referrers]

	life    context.Context // ends with Close
	end     context.CancelFunc
	errands sync.WaitGroup // goroutines under life that no caller waits for
}

// digestKey is the key of a digest in a repository.
type digestKey struct {
	repository ref.Repository
	digest     digest.Digest
}

// New makes an empty Registries. It sends no request.
func New(o Options) *Registries {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Notify == nil {
		o.Notify = func(Notice) {}
	}
	rs := &Registries{
		o: o, log: o.Logger, patience: catalogPatience,
		hosts:     newTable[string, hostState](maxHosts),
		visits:    newVisits(),
		tags:      newTable[tagKey, pointer](maxTags),
		objects:   newTable[object, presence](maxObjects),
		refusals:  newTable[ref.Repository, refusal](maxRefusals),
		catalogs:  NewBounded[string](maxCatalogBytes, func(c catalog) int { return namesCost(c.paths) }),
		lists:     NewBounded[ref.Repository](maxTagListBytes, func(l TagList) int { return namesCost(l.Names) }),
		tagParts:  NewBounded[ref.Repository](maxTagListBytes, func(p tagPart) int { return namesCost(p.names()) }),
		manifests: NewBounded[digest.Digest](maxManifestBytes, func(m *registry.Manifest) int { return Overhead + len(m.Raw) }),
		referrers: NewBounded[digestKey](maxReferrerBytes, func(rs Referrers) int { return Overhead + 3*len(rs.Index) }),
		closures:  NewBounded[digestKey](maxClosureBytes, (*Closure).cost),
		changes:   newChanges(),
	}
	rs.times = newListTimes(rs)
	for _, panicked := range []*func(any, []byte){
		&rs.listing.panicked, &rs.listingTags.panicked, &rs.resolving.panicked, &rs.fetching.panicked, &rs.probing.panicked, &rs.referring.panicked,
	} {
		*panicked = o.Panicked
	}
	rs.life, rs.end = context.WithCancel(context.Background())
	return rs
}

// namesCost gives the size of a list of names in bytes.
func namesCost[S ~[]string](names S) int {
	n := Overhead
	for _, name := range names {
		n += len(name) + 16 // the string's header
	}
	return n
}

// Close ends the requests for which no caller waits.
func (rs *Registries) Close() {
	rs.end()
	rs.errands.Wait()
}

// Repository gives a repository by its reference.
func (rs *Registries) Repository(r ref.Repository) Repository { return Repository{r, rs} }

// Host gives a host by its name.
func (rs *Registries) Host(name string) Host { return Host{name, rs} }

// Held counts what is in memory.
type Held struct {
	Names        int `json:"names"`        // in lists of tags and repositories
	Repositories int `json:"repositories"` // of which something was seen
	Tags         int `json:"tags"`         // whose digest is known
	Manifests    int `json:"manifests"`
}

// Held counts what is in memory.
func (rs *Registries) Held() Held {
	h := Held{Repositories: rs.visits.len(), Tags: rs.tags.len(), Manifests: rs.manifests.len()}
	rs.lists.values(func(l TagList) { h.Names += len(l.Names) })
	rs.catalogs.values(func(c catalog) { h.Names += len(c.paths) })
	return h
}

// showing tells a person that something is shown as it was before, and why.
func (rs *Registries) showing(at Notice, what string, since time.Time, err error) {
	at.Hint = "nothing to do: what was known is shown until the registry can be reached"
	at.Err = fmtShowing(what, rs.now().Sub(since), err)
	rs.o.Notify(at)
}
