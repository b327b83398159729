package fs

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/fs/internal/known"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry/ref"
)

// referrersDir is referrers/<algo>/<hex>/: the referrers of a digest.
type referrersDir struct {
	place
	lazy
	repo    known.Repository
	subject digest.Digest
}

func newReferrersOf(at place, r known.Repository, subject digest.Digest) *referrersDir {
	d := &referrersDir{place: at, repo: r, subject: subject}
	d.lazy = lazy{func(name string) bool { return !strings.HasPrefix(name, ".") }, d.ask}
	return d
}

func (d *referrersDir) Attr() node.Attr { return d.dirAttr(d.subject) }

// ask asks the registry for the referrers.
func (d *referrersDir) ask(ctx context.Context) (view, error) {
	rs, err := d.repo.Referrers(ctx, d.subject)
	if err != nil {
		return nil, err
	}
	shown := d.tree.referrers.Get(rs.Digest)
	if shown.names == nil {
		shown = showReferrers(rs)
		d.tree.referrers.Add(rs.Digest, shown)
	}
	return &referrersView{d.place, shown, rs.Until.Sub(d.tree.opts.now())}, nil
}

// referrers are the referrers of a digest, in the form that directories show. The index alone
// decides it.
type referrers struct {
	index []byte // index.json: the referrers of all pages
	// created is the time of index.json: the latest time in the annotations of the referrers.
	// Like all times here, it depends on the content alone.
	created time.Time
	digest  digest.Digest // of index
	// names are index.json and the names of the directories, sorted; nil: not known.
	names []string
	// types are the sorted digests of the referrers, by the directory of their artifact type.
	types map[string][]digest.Digest
}

// maxReferrerBytes is the size, in bytes, of the referrers kept in memory. They are kept because
// a walk through a directory asks for the same ones again and again.
const maxReferrerBytes = 4 << 20

func newReferrers() *known.Bounded[digest.Digest, referrers] {
	return known.NewBounded[digest.Digest](maxReferrerBytes, func(rs referrers) int { return known.Overhead + 2*len(rs.index) })
}

// showReferrers brings the referrers of a registry into the form for directories, once for all
// lookups.
func showReferrers(of known.Referrers) referrers {
	rs := referrers{index: of.Index, digest: of.Digest, created: epoch, types: map[string][]digest.Digest{}}
	for _, d := range of.Descriptors {
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
	return rs
}

// referrersView has the children of a referrersDir.
type referrersView struct {
	place
	referrers
	ttl time.Duration // how long the referrers are still believed
}

// Lookup finds the index of all referrers, or the directory of an artifact type.
func (v *referrersView) Lookup(_ context.Context, name string) (node.Child, error) {
	if name == indexName {
		return node.Child{Name: name, Entry: &small{v.at(name), v.index, v.digest, v.created}, TTL: v.ttl}, nil
	}
	of, ok := v.types[name]
	if !ok {
		return node.Child{}, node.ErrNotExist
	}
	return node.Child{Name: name, Entry: &typeDir{v.at(name), v.digest, of}, TTL: v.ttl}, nil
}

func (v *referrersView) List(ctx context.Context) (node.Listing, error) {
	return listNames(v.names, func(name string) (node.Child, error) { return v.Lookup(ctx, name) }), nil
}

// typeDir has the referrers of one artifact type, as symlinks to their image directories.
type typeDir struct {
	place
	// index is the digest of the index of the referrers. If they change, it is another
	// directory.
	index     digest.Digest
	referrers []digest.Digest // sorted
}

func (d *typeDir) Attr() node.Attr { return d.dirAttr(d.index) }

func (d *typeDir) Lookup(_ context.Context, name string) (node.Child, error) {
	dgst, _ := ref.ParseDigestName(name)
	if _, ok := slices.BinarySearch(d.referrers, dgst); !ok {
		return node.Child{}, node.ErrNotExist
	}
	to := d.to(d.up(4).at(manifestsName).at(hexPath(dgst)))
	return node.Child{Name: name, Entry: &link{d.at(name), to, epoch}, TTL: forever}, nil
}

func (d *typeDir) List(ctx context.Context) (node.Listing, error) {
	names := make([]string, len(d.referrers))
	for i, r := range d.referrers {
		names[i] = ref.DigestName(r)
	}
	return listNames(names, func(name string) (node.Child, error) { return d.Lookup(ctx, name) }), nil
}
