package fs

import (
	"context"
	"encoding/json"
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

func (d *referrersDir) stat() stat { return d.dirStat(d.subject, d.tree.started) }

func (d *referrersDir) lookup(ctx context.Context, name string) (child, error) {
	if strings.HasPrefix(name, ".") {
		return child{}, errNotExist
	}
	f, err := d.children(ctx)
	if err != nil {
		return child{}, err
	}
	return f.lookup(ctx, name)
}

func (d *referrersDir) list(ctx context.Context) (listing, error) {
	f, err := d.children(ctx)
	if err != nil {
		return listing{}, err
	}
	return f.list(ctx)
}

// children shows the referrers of the moment: the joined index, and a directory
// of symlinks for each artifact type.
func (d *referrersDir) children(ctx context.Context) (*fixed, error) {
	rs, err := d.repo.referrers(ctx, d.place, d.subject)
	if err != nil {
		return nil, err
	}
	left := time.Until(rs.expires)
	index := &small{d.at("index.json"), rs.index, digest.FromBytes(rs.index), d.tree.started}
	f := &fixed{place: d.place, mtime: d.tree.started, children: []child{{"index.json", index, left}}}
	types := map[string]*fixed{}
	for _, r := range rs.descriptors {
		name := strings.ReplaceAll(r.ArtifactType, "/", "_")
		if name == "" {
			name = "unknown"
		}
		if !safeName(name) || strings.HasPrefix(name, ".") || name == "index.json" {
			continue
		}
		t := types[name]
		if t == nil {
			// Its inode is of the referrers that it shows: another set is another directory.
			t = &fixed{place: d.at(name), version: index.digest, mtime: d.tree.started}
			types[name] = t
			f.children = append(f.children, child{name, t, left})
		}
		link := &link{t.at(r.Digest.Algorithm().String() + "-" + r.Digest.Encoded()), t.to(d.up(3).at(manifestsName).at(hexPath(r.Digest))), d.tree.started}
		t.children = append(t.children, child{link.path[len(t.path)+1:], link, left})
	}
	for _, t := range types {
		t.children = unique(t.children)
	}
	return f, nil
}

// referrers is what refers to one digest.
type referrers struct {
	belief
	descriptors []v1.Descriptor
	index       []byte // one index of them all
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
		got := referrers{believe(r.tree.opts.ListTTL), ds, append(index, '\n')}
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
