package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

const (
	// knownFor is how long it is believed that a repository has something that
	// it named or showed, missingFor that it doesn't have what it denied.
	knownFor   = time.Hour
	missingFor = 5 * time.Second
	// maxKnown bounds what is remembered of one repository.
	maxKnown = 1 << 14
)

// repository is what this mount knows of one repository. It decides what is
// asked of the registry and what is answered from memory and the cache. All
// directories of the repository, however they are spelled, share it. It is safe
// for concurrent use.
//
// That the cache has a blob says nothing about whether this repository may show
// it: content comes from the cache only where the repository has confirmed the
// digest, by naming it in a manifest or by answering for it.
type repository struct {
	tree *Tree
	ref.Repository

	known *lru.Cache[digest.Digest, presence]

	mu     sync.Mutex
	tags   map[string]pointer
	listed map[string]*tagDir // directories of tags that a listing named, by path
	names  tagList

	generation int // counts what listTag made

	recent recentReferrers

	resolving flight[string, resolution]
	fetching  flight[digest.Digest, *registry.Manifest]
	probing   flight[digest.Digest, presence]
	listing   flight[struct{}, tagList]
	referring flight[digest.Digest, *referrers]
}

// presence is whether the repository has a digest.
type presence struct {
	missing bool
	size    int64
	mtime   time.Time // zero: not known
	expires time.Time
}

// pointer is what a tag points at, and when the registry last said so.
type pointer struct {
	digest  digest.Digest
	checked time.Time
}

// tagList is the tags of a repository, sorted.
type tagList struct {
	names   []string
	expires time.Time
}

// resolution is a tag with its manifest.
type resolution struct {
	manifest *registry.Manifest
	expires  time.Time
}

func newRepository(t *Tree, r ref.Repository) *repository {
	known, err := lru.New[digest.Digest, presence](maxKnown)
	if err != nil {
		panic(err) // the size is positive
	}
	return &repository{tree: t, Repository: r, known: known, tags: map[string]pointer{}, listed: map[string]*tagDir{},
		recent: recentReferrers{m: map[digest.Digest]*referrers{}}}
}

// has says what is known, and still believed, of d.
func (r *repository) has(d digest.Digest) (presence, bool) {
	p, ok := r.known.Get(d)
	return p, ok && time.Now().Before(p.expires)
}

// saw remembers that the repository has d, of size bytes.
func (r *repository) saw(d digest.Digest, size int64, mtime time.Time) presence {
	p := presence{size: size, mtime: mtime, expires: time.Now().Add(knownFor)}
	r.known.Add(d, p)
	r.tree.visit(r.Repository)
	return p
}

// denied remembers that the repository doesn't have d.
func (r *repository) denied(d digest.Digest) {
	r.known.Add(d, presence{missing: true, expires: time.Now().Add(missingFor)})
}

// admit takes in a manifest that the repository showed: it and all that it
// names can be had here.
func (r *repository) admit(m *registry.Manifest) {
	r.saw(m.Digest, int64(len(m.Raw)), m.LastModified)
	for _, d := range named(m) {
		if p, ok := r.has(d.Digest); !ok || p.missing {
			r.saw(d.Digest, d.Size, time.Time{})
		}
	}
	r.tree.manifests.Add(m.Digest, m)
}

// keep is admit for a manifest that came from the registry: it goes to the
// cache as well.
func (r *repository) keep(m *registry.Manifest) {
	r.admit(m)
	if err := r.tree.store.Put(m.Digest, m.Raw); err != nil {
		// It was shown all the same; the next mount asks again.
		r.tree.log.Debug("manifest not cached", "digest", m.Digest, "cause", err)
	}
}

func (r *repository) tagKey(tag string) string { return r.String() + ":" + tag }

// recall gives what is remembered of a tag, over restarts.
func (r *repository) recall(tag string) (pointer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.tags[tag]; ok {
		return p, true
	}
	p, ok := r.tree.store.Recall(r.tagKey(tag))
	if !ok {
		return pointer{}, false
	}
	r.tags[tag] = pointer{p.Digest, p.Checked}
	return r.tags[tag], true
}

// remember keeps what the registry just said of a tag.
func (r *repository) remember(tag string, d digest.Digest) time.Time {
	now := time.Now()
	r.mu.Lock()
	r.tags[tag] = pointer{d, now}
	r.mu.Unlock()
	if err := r.tree.store.Remember(r.tagKey(tag), cache.Pointer{Digest: d, Checked: now}); err != nil {
		r.tree.log.Debug("tag not remembered on disk", "tag", r.tagKey(tag), "cause", err)
	}
	return now.Add(r.tree.opts.TagTTL)
}

func (r *repository) forget(tag string) {
	r.mu.Lock()
	delete(r.tags, tag)
	r.mu.Unlock()
	r.tree.store.Forget(r.tagKey(tag))
}

// fresh gives what a tag points at where that needn't be asked.
func (r *repository) fresh(tag string) (d digest.Digest, expires time.Time, ok bool) {
	p, ok := r.recall(tag)
	if !ok {
		return "", time.Time{}, false
	}
	// A clock that was set back doesn't make old knowledge new.
	now := time.Now()
	expires = p.checked.Add(r.tree.opts.TagTTL)
	return p.digest, expires, now.Before(expires) && !p.checked.After(now.Add(time.Second))
}

// tag gives the manifest that a tag points at, and until when that holds. Cold
// it costs one GET, later one HEAD where the time is over, else nothing.
func (r *repository) tag(ctx context.Context, tag string) (resolution, error) {
	return r.resolving.do(ctx, tag, func(ctx context.Context) (resolution, error) {
		if d, expires, ok := r.fresh(tag); ok {
			r.confirm(d)
			m, err := r.manifest(ctx, d)
			return resolution{m, expires}, err
		}
		if p, ok := r.recall(tag); ok {
			return r.revalidate(ctx, tag, p)
		}
		m, err := r.tree.client.Manifest(ctx, r.Repository, tag)
		if err != nil {
			return resolution{}, err
		}
		r.keep(m)
		return resolution{m, r.remember(tag, m.Digest)}, nil
	})
}

// confirm believes that the repository has the manifest d, as its tag said so.
func (r *repository) confirm(d digest.Digest) {
	if p, ok := r.has(d); !ok || p.missing {
		r.saw(d, -1, time.Time{})
	}
}

// revalidate asks whether a tag still points where it did. Where the registry
// can't be asked, what is known is better than nothing, and a person is told.
func (r *repository) revalidate(ctx context.Context, tag string, p pointer) (resolution, error) {
	res, err := r.tree.client.ResolveManifest(ctx, r.Repository, tag)
	switch {
	case err == nil && res.Manifest != nil:
		r.keep(res.Manifest)
		return resolution{res.Manifest, r.remember(tag, res.Manifest.Digest)}, nil
	case err == nil:
		r.confirm(res.Digest)
		m, err := r.manifest(ctx, res.Digest)
		if err != nil {
			return resolution{}, err
		}
		return resolution{m, r.remember(tag, res.Digest)}, nil
	case errors.Is(err, registry.ErrNotFound):
		r.forget(tag)
		return resolution{}, err
	case outOfReach(err):
		r.confirm(p.digest)
		m, merr := r.manifest(ctx, p.digest)
		if merr != nil {
			return resolution{}, err
		}
		r.tree.failures.add(r.treePath(tagsName+"/"+tag), "lookup", verdict{hint: "nothing to do: what was known is shown until the registry can be reached"},
			fmt.Errorf("showing %s as it was %s ago: %w", tag, time.Since(p.checked).Round(time.Second), err))
		return resolution{m, time.Now().Add(missingFor)}, nil
	default:
		return resolution{}, err
	}
}

// outOfReach says whether err is of a registry that can't be asked now, as
// opposed to one that said no.
func outOfReach(err error) bool {
	return errors.Is(err, registry.ErrUnreachable) || errors.Is(err, registry.ErrTimeout) ||
		errors.Is(err, registry.ErrServer) || errors.Is(err, registry.ErrTooManyRequests) ||
		errors.Is(err, context.DeadlineExceeded)
}

// treePath is where name of this repository stands in a tree of all registries.
func (r *repository) treePath(name string) string {
	p := hostName(r.Host)
	for _, c := range components(r.Path) {
		p += "/" + componentName(c)
	}
	return p + "/" + name
}

// manifest gives a manifest by digest: a GET once, ever, and a HEAD where the
// cache has it and this repository hasn't confirmed it.
func (r *repository) manifest(ctx context.Context, d digest.Digest) (*registry.Manifest, error) {
	p, confirmed := r.has(d)
	if confirmed && p.missing {
		return nil, notFound(r, d)
	}
	if m, ok := r.tree.manifests.Get(d); ok && confirmed {
		return m, nil
	}
	return r.fetching.do(ctx, d, func(ctx context.Context) (*registry.Manifest, error) {
		m := r.cachedManifest(d)
		if m != nil && !confirmed {
			switch res, err := r.tree.client.ResolveManifest(ctx, r.Repository, d.String()); {
			case errors.Is(err, registry.ErrNotFound):
				r.denied(d)
				return nil, err
			case err != nil:
				return nil, err
			default:
				m.LastModified = res.LastModified
			}
		}
		if m != nil {
			r.admit(m)
			return m, nil
		}
		m, err := r.tree.client.Manifest(ctx, r.Repository, d.String())
		if errors.Is(err, registry.ErrNotFound) {
			r.denied(d)
		}
		if err != nil {
			return nil, err
		}
		r.keep(m)
		return m, nil
	})
}

// cachedManifest reads a manifest from the cache; nil where that hasn't it.
func (r *repository) cachedManifest(d digest.Digest) *registry.Manifest {
	if m, ok := r.tree.manifests.Get(d); ok {
		return m
	}
	f, err := r.tree.store.Open(d, -1)
	if err != nil {
		return nil
	}
	defer f.Close()
	if f.Size() > registry.MaxManifest {
		return nil
	}
	raw, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err != nil {
		return nil
	}
	m, err := registry.ParseManifest(raw, "", d)
	if err != nil {
		return nil
	}
	return m
}

// blob says whether the repository has the blob d: a HEAD where nothing named
// it yet.
func (r *repository) blob(ctx context.Context, d digest.Digest) (presence, error) {
	p, ok := r.has(d)
	if ok && p.missing {
		return presence{}, notFound(r, d)
	}
	if ok && p.size >= 0 {
		return p, nil
	}
	return r.probing.do(ctx, d, func(ctx context.Context) (presence, error) {
		res, err := r.tree.client.ResolveBlob(ctx, r.Repository, d)
		if errors.Is(err, registry.ErrNotFound) {
			r.denied(d)
		}
		if err != nil {
			return presence{}, err
		}
		return r.saw(d, res.Size, res.LastModified), nil
	})
}

// notFound is the error of a digest that the repository denied moments ago.
func notFound(r *repository, d digest.Digest) error {
	return fmt.Errorf("%s@%s: %w", r, d, registry.ErrNotFound)
}

// want is how the cache gets a blob of this repository.
func (r *repository) want(d digest.Digest, size int64) cache.Want {
	return cache.Want{Digest: d, Size: size, From: r.String(), Fetch: func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		b, err := r.tree.client.BlobRange(ctx, r.Repository, d, offset, -1)
		if err != nil {
			return nil, err
		}
		r.tree.visit(r.Repository)
		return b, nil
	}}
}

// tagNames lists the tags, all pages, sorted and each once. Names that no path
// can have are left out.
func (r *repository) tagNames(ctx context.Context) (tagList, error) {
	if l := r.knownTags(); l.names != nil {
		return l, nil
	}
	return r.listing.do(ctx, struct{}{}, func(ctx context.Context) (tagList, error) {
		names := []string{}
		for page, err := range r.tree.client.Tags(ctx, r.Repository) {
			if err != nil {
				return tagList{}, err
			}
			names = append(names, page...)
		}
		names = slices.DeleteFunc(names, func(s string) bool { return !ref.ValidTag(s) })
		slices.Sort(names)
		l := tagList{slices.Compact(names), time.Now().Add(r.tree.opts.ListTTL)}
		r.mu.Lock()
		r.names = l
		r.mu.Unlock()
		r.tree.visit(r.Repository)
		return l, nil
	})
}

// knownTags is the listing where it is still believed, else the zero value.
func (r *repository) knownTags() tagList {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().After(r.names.expires) {
		return tagList{}
	}
	return r.names
}

// exists asks the registry whether there is such a repository, unless it has
// shown something of it already: one page of tags tells.
func (r *repository) exists(ctx context.Context) error {
	if r.tree.visited(r.Repository) || r.knownTags().names != nil {
		return nil
	}
	for _, err := range r.tree.client.Tags(ctx, r.Repository) {
		if err != nil {
			return err
		}
		break
	}
	r.tree.visit(r.Repository)
	return nil
}
