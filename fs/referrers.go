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
	rs, err := d.repo.referrers(ctx, d.subject)
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
	descriptors []v1.Descriptor
	index       []byte // one index of them all
	expires     time.Time
}

// recentReferrers remembers referrers for the time that lists are believed.
type recentReferrers struct {
	mu      sync.Mutex
	m       map[digest.Digest]*referrers
	changes int // counts what forget was told
}

// forget drops what is remembered of a subject, as something refers to it now, or
// no longer does.
func (rs *recentReferrers) forget(subject digest.Digest) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.m, subject)
	rs.changes++
}

func (r *repository) referrers(ctx context.Context, subject digest.Digest) (*referrers, error) {
	r.recent.mu.Lock()
	known := r.recent.m[subject]
	r.recent.mu.Unlock()
	if known != nil && time.Now().Before(known.expires) {
		return known, nil
	}
	return r.referring.do(ctx, subject, func(ctx context.Context) (*referrers, error) {
		r.recent.mu.Lock()
		changes := r.recent.changes
		r.recent.mu.Unlock()
		ds, err := r.tree.client.Referrers(ctx, r.Repository, subject)
		if err != nil {
			return nil, err
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
			return nil, err
		}
		got := &referrers{ds, append(index, '\n'), time.Now().Add(r.tree.opts.ListTTL)}
		r.recent.mu.Lock()
		defer r.recent.mu.Unlock()
		for d, old := range r.recent.m { // bounded by what was asked within one time
			if time.Now().After(old.expires) {
				delete(r.recent.m, d)
			}
		}
		if r.recent.changes == changes { // else it may be of before
			r.recent.m[subject] = got
		}
		return got, nil
	})
}
