package fs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ocifs/ocifs/registry"
)

// image is an image directory: one manifest or index, shown as a complete OCI
// image layout with shortcuts beside it. All that isn't part of the layout is a
// symlink or small, so that a copy has each byte once.
type image struct {
	place
	repo     *repository
	manifest *registry.Manifest
	name     string // org.opencontainers.image.ref.name
	base     place  // the repository's directory
	mtime    time.Time

	mu      sync.Mutex
	shown   *fixed          // what the directory shows, once someone looked
	closure []v1.Descriptor // all that is reachable, once it is known
}

// Bounds of what is followed from one index. Real ones have some dozens of
// children and are nested twice at most.
const (
	maxReachable = 20_000
	maxNesting   = 16
)

func newImage(at, base place, r *repository, m *registry.Manifest, name string) *image {
	return &image{place: at, base: base, repo: r, manifest: m, name: name, mtime: created(m, at.tree.started)}
}

// created is when the registry says that a manifest was made. What was before
// 1970, as some builders have it that leave times out, is none.
func created(m *registry.Manifest, otherwise time.Time) time.Time {
	if t, err := time.Parse(time.RFC3339, m.Annotations[v1.AnnotationCreated]); err == nil && t.Unix() >= 0 {
		return t
	}
	if !m.LastModified.IsZero() {
		return m.LastModified
	}
	return otherwise
}

func (i *image) stat() stat { return i.dirStat(i.manifest.Digest, i.mtime) }

func (i *image) lookup(ctx context.Context, name string) (child, error) {
	return i.children().lookup(ctx, name)
}

func (i *image) list(ctx context.Context) (listing, error) { return i.children().list(ctx) }

// children is what the directory shows, made when someone first looks.
func (i *image) children() *fixed {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.shown == nil {
		i.shown = i.show()
	}
	return i.shown
}

// fixed is a directory of this image at a place, to be filled.
func (i *image) fixed(at place) *fixed {
	return &fixed{place: at, version: i.manifest.Digest, mtime: i.mtime}
}

// show makes the entries of the directory. It sends nothing.
func (i *image) show() *fixed {
	d := i.fixed(i.place)
	add := func(name string, e entry) { d.children = append(d.children, child{name, e, forever}) }
	file := func(name string, b []byte) {
		add(name, &small{i.at(name), b, i.manifest.Digest, i.mtime})
	}
	symlink := func(name, to string) { add(name, &link{i.at(name), to, i.mtime}) }

	m := i.manifest
	file("manifest.json", m.Raw)
	file("digest", []byte(m.Digest+"\n"))
	file("oci-layout", []byte(`{"imageLayoutVersion":"`+v1.ImageLayoutVersion+`"}`))
	file("index.json", i.index())
	add("blobs", &layoutDir{i.at("blobs"), i})
	symlink("referrers", i.to(i.base.at(referrersName).at(hexPath(m.Digest))))
	if m.IsIndex() {
		add("platforms", i.platforms())
		return d
	}
	if m.Config != nil {
		symlink("config.json", "blobs/"+hexPath(m.Config.Digest))
	}
	add("layers", i.layers())
	if isArtifact(m) {
		add("files", &filesDir{place: i.at("files"), image: i})
	}
	return d
}

// index makes index.json: one descriptor, under one name.
func (i *image) index() []byte {
	desc := i.manifest.Descriptor()
	desc.Annotations = map[string]string{v1.AnnotationRefName: i.name}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{desc},
	}); err != nil {
		panic(err) // made of plain values by ourselves
	}
	return b.Bytes()
}

func (i *image) xattrs() map[string]string {
	return map[string]string{"user.oci.digest": i.manifest.Digest.String(), "user.oci.mediaType": i.manifest.MediaType}
}

// hexPath is a digest as paths have it.
func hexPath(d digest.Digest) string { return d.Algorithm().String() + "/" + d.Encoded() }

// named lists what a manifest names as part of its content.
func named(m *registry.Manifest) []v1.Descriptor {
	ds := slices.Clone(m.Manifests)
	if m.Config != nil {
		ds = append(ds, *m.Config)
	}
	return append(ds, m.Layers...)
}

func wrongSize(d digest.Digest, want, got int64) error {
	return fmt.Errorf("%s is %d bytes, where %d were promised: %w", d, got, want, registry.ErrCorrupt)
}

// direct is what can be told without a request: the manifest itself and what it
// names.
func (i *image) direct() []v1.Descriptor {
	return append([]v1.Descriptor{i.manifest.Descriptor()}, named(i.manifest)...)
}

// reachable is all content of the image, each digest once: for an index that
// needs its children, a GET each where they aren't cached. Children that the
// registry doesn't have are left out: sparse indexes are met in the wild.
func (i *image) reachable(ctx context.Context) ([]v1.Descriptor, error) {
	i.mu.Lock()
	known := i.closure
	i.mu.Unlock()
	if known != nil {
		return known, nil
	}
	all := []v1.Descriptor{i.manifest.Descriptor()}
	seen := map[digest.Digest]bool{i.manifest.Digest: true}
	level := []*registry.Manifest{i.manifest}
	for depth := 0; len(level) > 0; depth++ {
		var manifests []v1.Descriptor
		for _, m := range level {
			for _, d := range named(m) {
				if seen[d.Digest] {
					continue
				}
				seen[d.Digest] = true
				if registry.IsManifestType(d.MediaType) {
					manifests = append(manifests, d)
				} else {
					all = append(all, d)
				}
			}
		}
		if len(all)+len(manifests) > maxReachable || depth > maxNesting {
			return nil, fmt.Errorf("index %s names more than %d things or is nested deeper than %d: %w", i.manifest.Digest, maxReachable, maxNesting, registry.ErrCorrupt)
		}
		got := make([]*registry.Manifest, len(manifests))
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(8)
		for k, d := range manifests {
			g.Go(func() error {
				m, err := i.repo.child(gctx, d.Digest, d.Size)
				if errors.Is(err, registry.ErrNotFound) {
					return nil
				}
				got[k] = m
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		level = level[:0]
		for k, m := range got {
			if m != nil {
				all = append(all, manifests[k])
				level = append(level, m)
			}
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.closure = all
	return all, nil
}

// layoutDir is blobs/ of an image directory.
type layoutDir struct {
	place
	image *image
}

func (d *layoutDir) stat() stat { return d.dirStat(d.image.manifest.Digest, d.image.mtime) }

func (d *layoutDir) algorithm(a digest.Algorithm) child {
	return child{string(a), &layoutBlobs{d.at(string(a)), d.image, a}, forever}
}

func (d *layoutDir) lookup(ctx context.Context, name string) (child, error) {
	of := func(ds []v1.Descriptor) bool {
		return slices.ContainsFunc(ds, func(x v1.Descriptor) bool { return string(x.Digest.Algorithm()) == name })
	}
	if of(d.image.direct()) {
		return d.algorithm(digest.Algorithm(name)), nil
	}
	all, err := d.image.reachable(ctx)
	if err != nil {
		return child{}, err
	}
	if !of(all) {
		return child{}, errNotExist
	}
	return d.algorithm(digest.Algorithm(name)), nil
}

func (d *layoutDir) list(ctx context.Context) (listing, error) {
	all, err := d.image.reachable(ctx)
	if err != nil {
		return listing{}, err
	}
	var cs []child
	for _, x := range all {
		cs = append(cs, d.algorithm(x.Digest.Algorithm()))
	}
	return listChildren(unique(cs)), nil
}

// layoutBlobs is blobs/<algo>/ of an image directory: exactly what is reachable
// from the manifest.
type layoutBlobs struct {
	place
	image *image
	algo  digest.Algorithm
}

func (d *layoutBlobs) stat() stat { return d.dirStat(d.image.manifest.Digest, d.image.mtime) }

func (d *layoutBlobs) blob(x v1.Descriptor) child {
	name := x.Digest.Encoded()
	at := d.at(name)
	var e entry
	switch {
	case x.Digest == d.image.manifest.Digest:
		e = &small{at, d.image.manifest.Raw, x.Digest, d.image.mtime}
	case registry.IsManifestType(x.MediaType):
		e = &manifestFile{at, d.image.repo, x.Digest, x.Size, d.image.mtime, x.MediaType}
	default:
		e = &blobFile{at, d.image.repo, x.Digest, x.Size, d.image.mtime, x.MediaType}
	}
	return child{name, e, forever}
}

func (d *layoutBlobs) lookup(ctx context.Context, name string) (child, error) {
	want := digest.NewDigestFromEncoded(d.algo, name)
	find := func(ds []v1.Descriptor) (child, bool) {
		for _, x := range ds {
			if x.Digest == want {
				return d.blob(x), true
			}
		}
		return child{}, false
	}
	if want.Validate() != nil {
		return child{}, errNotExist
	}
	if c, ok := find(d.image.direct()); ok {
		return c, nil
	}
	all, err := d.image.reachable(ctx)
	if err != nil {
		return child{}, err
	}
	if c, ok := find(all); ok {
		return c, nil
	}
	return child{}, errNotExist
}

func (d *layoutBlobs) list(ctx context.Context) (listing, error) {
	all, err := d.image.reachable(ctx)
	if err != nil {
		return listing{}, err
	}
	var cs []child
	for _, x := range all {
		if x.Digest.Algorithm() == d.algo {
			cs = append(cs, d.blob(x))
		}
	}
	return listChildren(cs), nil
}
