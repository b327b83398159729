package fs

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"

	"github.com/ocifs/ocifs/registry/ref"
)

// referrersDir is referrers/<algo>/<hex>/: what refers to a digest. It is a
// directory for any digest; the registry is asked when someone looks into it.
type referrersDir struct {
	place
	repo    *repository
	subject digest.Digest
}

func (r *repository) referrersByDigest(_ context.Context, at place, d digest.Digest) (entry, time.Duration, error) {
	return &referrersDir{at, r, d}, forever, nil
}

func (d *referrersDir) stat() stat { return d.dirStat(d.subject) }

func (d *referrersDir) lookup(ctx context.Context, name string) (child, error) {
	if strings.HasPrefix(name, ".") {
		return child{}, errNotExist
	}
	rs, err := d.repo.referrers(ctx, d.place, d.subject)
	if err != nil {
		return child{}, err
	}
	return d.child(rs, name)
}

func (d *referrersDir) list(ctx context.Context) (listing, error) {
	rs, err := d.repo.referrers(ctx, d.place, d.subject)
	if err != nil {
		return listing{}, err
	}
	return listNames(rs.names, func(name string) (child, error) { return d.child(rs, name) }), nil
}

// child shows one of the referrers' names: the joined index, or the directory of an
// artifact type.
func (d *referrersDir) child(rs referrers, name string) (child, error) {
	left := time.Until(rs.expires)
	if name == indexName {
		return child{name, &small{d.at(name), rs.index, rs.digest, rs.created}, left}, nil
	}
	of, ok := rs.types[name]
	if !ok {
		return child{}, errNotExist
	}
	return child{name, &typeDir{d.at(name), rs.digest, of}, left}, nil
}

// typeDir is the referrers of one artifact type, as symlinks to their image directories.
type typeDir struct {
	place
	index     digest.Digest   // the digest of the referrers' index: other referrers are another directory
	referrers []digest.Digest // sorted
}

func (d *typeDir) stat() stat { return d.dirStat(d.index) }

func (d *typeDir) lookup(_ context.Context, name string) (child, error) {
	dgst, _ := ref.ParseDigestName(name)
	if _, ok := slices.BinarySearch(d.referrers, dgst); !ok {
		return child{}, errNotExist
	}
	to := d.to(d.up(4).at(manifestsName).at(hexPath(dgst)))
	return child{name, &link{d.at(name), to, epoch}, forever}, nil
}

func (d *typeDir) list(ctx context.Context) (listing, error) {
	names := make([]string, len(d.referrers))
	for i, r := range d.referrers {
		names[i] = ref.DigestName(r)
	}
	return listNames(names, func(name string) (child, error) { return d.lookup(ctx, name) }), nil
}

// referrers is the referrers of one digest, in the shape that directories show.
type referrers struct {
	belief
	index []byte // the index.json of them all; nil: not known
	// created is the time of index.json: that of the referrer that was made last, as far as
	// their annotations tell. It depends on the content, as all times here do.
	created time.Time
	digest  digest.Digest              // the digest of index
	names   []string                   // index.json and the directories' names, sorted
	types   map[string][]digest.Digest // the referrers by the directory of their artifact type, sorted
}

// newReferrers puts the referrers that a registry named into shape, once for all lookups.
func newReferrers(b belief, ds []v1.Descriptor) (referrers, error) {
	if ds == nil {
		ds = []v1.Descriptor{}
	}
	index, err := json.Marshal(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: ds,
	})
	if err != nil {
		return referrers{}, err
	}
	index = append(index, '\n')
	rs := referrers{belief: b, index: index, digest: digest.FromBytes(index), types: map[string][]digest.Digest{}}
	rs.created = epoch
	for _, d := range ds {
		if t := created(d.Annotations); t.After(rs.created) {
			rs.created = t
		}
		name := strings.ReplaceAll(d.ArtifactType, "/", "_")
		if name == "" {
			name = "unknown"
		}
		if !safeName(name) || strings.HasPrefix(name, ".") || name == indexName {
			continue
		}
		rs.types[name] = append(rs.types[name], d.Digest)
	}
	for name, of := range rs.types {
		slices.Sort(of)
		rs.types[name] = slices.Compact(of)
	}
	rs.names = append(slices.Collect(maps.Keys(rs.types)), indexName)
	slices.Sort(rs.names)
	return rs, nil
}

// maxReferrerBytes bounds the referrers in memory: most digests have none.
const maxReferrerBytes = 8 << 20

// subject is a digest that something may refer to.
type subject struct {
	repository ref.Repository
	digest     digest.Digest
}

// recentReferrers remembers referrers, those that were asked for last: for the time
// that lists are believed, and longer where the registry can't be asked. It is safe
// for concurrent use.
type recentReferrers struct {
	kept *bounded[subject, referrers]

	mu      sync.Mutex
	changes map[ref.Repository]int // counts what forget was told
}

func newRecentReferrers() *recentReferrers {
	cost := func(rs referrers) int { return manifestCost + 2*len(rs.index) }
	return &recentReferrers{kept: newBounded[subject](maxReferrerBytes, cost), changes: map[ref.Repository]int{}}
}

// forget drops what is remembered of a subject, as something refers to it now, or
// no longer does.
func (rs *recentReferrers) forget(r ref.Repository, d digest.Digest) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.kept.remove(subject{r, d})
	rs.changes[r]++
}

// asked gives what keep wants to know of the moment when a registry is asked.
func (rs *recentReferrers) asked(r ref.Repository) (changes int) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.changes[r]
}

// keep remembers what a registry said, if it isn't of before a change.
func (rs *recentReferrers) keep(s subject, changes int, got referrers) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.changes[s.repository] == changes {
		rs.kept.add(s, got)
	}
}

// old gives what was known of a subject, for a moment more, and whether that is to
// be told.
func (rs *recentReferrers) old(s subject) (known referrers, tell bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if known = rs.kept.get(s); known.index == nil {
		return known, false
	}
	if tell = known.showOn(); tell {
		rs.kept.add(s, known)
	}
	return known, tell
}

func (r *repository) referrers(ctx context.Context, at place, d digest.Digest) (referrers, error) {
	s := subject{r.Repository, d}
	if known := r.tree.referrers.kept.get(s); known.believed() {
		return known, nil
	}
	rs, err := r.referring.do(ctx, d, func(ctx context.Context) (referrers, error) {
		changes := r.tree.referrers.asked(r.Repository)
		ds, err := r.tree.client.Referrers(ctx, r.Repository, d)
		if err != nil {
			return referrers{}, err
		}
		got, err := newReferrers(believe(r.tree.opts.ListTTL), ds)
		if err != nil {
			return referrers{}, err
		}
		r.tree.referrers.keep(s, changes, got)
		return got, nil
	})
	if registry.OutOfReach(err) {
		old, tell := r.tree.referrers.old(s)
		if tell {
			at.showing(ctx, "lookup", "the referrers", old.told, err)
		}
		if old.index != nil {
			return old, nil
		}
	}
	return rs, err
}
