package fs

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
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

	known objects

	mu      sync.Mutex
	tags    map[string]pointer
	listed  map[string]listedTag // by the path of the tag's directory
	names   tagList
	refusal refusal // the last one of the list of tags

	changes    int // counts what was pushed and deleted
	generation int // counts what boundTag remembered

	resolving flight[string, resolution]
	fetching  flight[digest.Digest, *registry.Manifest]
	probing   flight[digest.Digest, presence]
	listing   flight[struct{}, tagList]
	referring flight[digest.Digest, referrers]
}

// tagList is the tags of a repository, sorted.
type tagList struct {
	belief
	names   []string      // nil: not known
	content digest.Digest // their fingerprint
	whole   bool          // the registry itself gave it: it names all tags
}

// with gives the list with other names.
func (l tagList) with(names []string) tagList {
	l.names, l.content = names, fingerprint(names)
	return l
}

func (l tagList) has(name string) bool {
	_, ok := slices.BinarySearch(l.names, name)
	return ok
}

// lacks says whether there is no tag of a name: the list is whole, and the registry was in
// reach.
func (l tagList) lacks(name string) bool {
	return l.names != nil && l.whole && !l.old && !l.has(name)
}

func newRepository(t *Tree, r ref.Repository) *repository {
	return &repository{tree: t, Repository: r, known: newObjects(), tags: map[string]pointer{}, listed: map[string]listedTag{}}
}

// path is where name of this repository stands in the tree.
func (r *repository) path(name string) string {
	p := path.Join(treePath(r.Repository), name)
	if r.tree.prefix != "" {
		p = strings.TrimPrefix(p, r.tree.prefix+"/")
	}
	return p
}

// treePath is where a repository stands in a tree of all registries.
func treePath(r ref.Repository) string {
	p := hostName(r.Host)
	for c := range strings.SplitSeq(r.Path, "/") {
		p += "/" + componentName(c)
	}
	return p
}

// want is how the cache gets a blob of this repository. What a mirror has wrong is got
// from the registry itself.
func (r *repository) want(d digest.Digest, size int64) cache.Want {
	var mirrored atomic.Bool
	by := func(get func(context.Context, ref.Repository, v1.Descriptor, int64, int64) (*registry.Body, error)) cache.Fetch {
		return func(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
			b, err := get(ctx, r.Repository, v1.Descriptor{Digest: d, Size: size}, offset, length)
			if errors.Is(err, registry.ErrNoPlace) {
				return nil, cache.ErrNoPlace
			}
			if err != nil {
				return nil, err
			}
			r.tree.visit(r.Repository)
			return &mirroredBody{b, &mirrored}, nil
		}
	}
	return cache.Want{
		Digest: d, Size: size, From: r.String(),
		Fetch: by(r.tree.client.BlobRange), Part: by(r.tree.client.BlobPart),
		Doubt: func() bool {
			if !mirrored.Swap(false) {
				return false
			}
			r.tree.client.Doubt(r.Repository, d)
			return true
		},
	}
}

// mirroredBody notes, when it is closed, whether any of it came from a mirror.
type mirroredBody struct {
	*registry.Body
	mirrored *atomic.Bool
}

func (b *mirroredBody) Close() error {
	if b.Mirrored() {
		b.mirrored.Store(true)
	}
	return b.Body.Close()
}

// tagNames lists the tags, all pages, sorted and each once. Names that no path
// can have are left out. Where the registry doesn't list them, those that this mount has
// seen are listed.
func (r *repository) tagNames(ctx context.Context) (tagList, error) {
	if l := r.knownTags(); l.names != nil {
		return l, nil
	}
	l, err := r.askTags(ctx)
	if registry.OutOfReach(err) {
		if old := r.oldTags(ctx, err); old.names != nil {
			return old, nil
		}
	}
	if seen := r.seenTags(ctx, err); seen.names != nil {
		return seen, nil
	}
	return l, err
}

// askTags asks for the list of tags, unless that was refused a moment ago.
func (r *repository) askTags(ctx context.Context) (tagList, error) {
	if err := r.refused(); err != nil {
		return tagList{}, err
	}
	return r.listing.do(ctx, struct{}{}, func(ctx context.Context) (tagList, error) {
		r.mu.Lock()
		changes := r.changes
		r.mu.Unlock()
		names, whole := []string{}, true
		for page, err := range r.tree.client.Tags(ctx, r.Repository) {
			if err != nil {
				return tagList{}, err
			}
			names = append(names, page.Tags...)
			whole = whole && !page.Mirrored
		}
		names = slices.DeleteFunc(names, func(s string) bool { return !ref.ValidTag(s) })
		slices.Sort(names)
		l := tagList{belief: believe(r.tree.opts.ListTTL), whole: whole}.with(slices.Compact(names))
		r.mu.Lock()
		if r.changes == changes { // else it may be of before
			r.names = l
		}
		r.mu.Unlock()
		r.tree.visit(r.Repository)
		return l, nil
	})
}

// oldTags is the listing as it was, else the zero value: the registry is out of reach,
// as err says.
func (r *repository) oldTags(ctx context.Context, err error) tagList {
	r.mu.Lock()
	tell := r.names.names != nil && r.names.showOn()
	l := r.names
	r.mu.Unlock()
	if tell {
		place{r.tree, r.path(tagsName)}.showing(ctx, "opendir", "the tags", l.told, err)
	}
	return l
}

// knownTags is the listing where it is still believed, else the zero value.
func (r *repository) knownTags() tagList {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.names.believed() {
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
	if err := r.refused(); err != nil {
		return err
	}
	for _, err := range r.tree.client.Tags(ctx, r.Repository) {
		if errors.Is(err, registry.ErrNotFound) && r.answersForATag(ctx) {
			break
		}
		if errors.Is(err, registry.ErrNotFound) {
			r.tree.missed(r.Repository)
		}
		if err != nil {
			return err
		}
		break
	}
	r.tree.visit(r.Repository)
	return nil
}
