package upload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ocifs/ocifs/registry"
)

// Bounds of one image that is pushed.
const (
	maxNesting = 16
	maxPieces  = 20_000
	maxAtOnce  = 4 // blobs
)

// plan is what pushing one image takes.
type plan struct {
	blobs     map[digest.Digest]*File
	manifests []*registry.Manifest // children before those that name them; the top comes last
	missing   map[digest.Digest]bool
	seen      map[digest.Digest]bool
	skip      map[digest.Digest]bool // known to be missing, and not asked for
}

func newPlan() *plan {
	return &plan{blobs: map[digest.Digest]*File{}, missing: map[digest.Digest]bool{}, seen: map[digest.Digest]bool{}, skip: map[digest.Digest]bool{}}
}

// pushEntries pushes the entries es of an index, which are of one digest. Where
// something is missing they wait. arrived is what they waited for, or "".
func (r *Root) pushEntries(ctx context.Context, es []*entry, arrived digest.Digest) error {
	p := newPlan()
	var tags []string
	for _, e := range es {
		if arrived != "" {
			maps.Copy(p.skip, e.missing)
		}
		if e.tag != "" {
			tags = append(tags, e.tag)
		}
		r.area.records.set(r.repo, e.target, Pushing, "")
	}
	delete(p.skip, arrived)
	err := r.plan(ctx, p, es[0].desc, 0)
	if err == nil && len(p.missing) > 0 {
		r.await(es, p.missing)
		return nil
	}
	if err == nil {
		err = r.carryOut(ctx, p, tags)
	}
	r.mu.Lock()
	for _, e := range es {
		e.pushed, e.missing = err == nil, nil
	}
	r.mu.Unlock()
	for _, e := range es {
		r.area.record(r.repo, e.target, err)
	}
	return err
}

// await has entries wait for what is missing.
func (r *Root) await(es []*entry, missing map[digest.Digest]bool) {
	names := slices.Sorted(maps.Keys(missing))
	text := fmt.Sprintf("%d pieces are neither staged nor at the registry: %s", len(names), names[0])
	if len(names) > 1 {
		text += ", …"
	}
	r.mu.Lock()
	for _, e := range es {
		e.pushed, e.missing = false, missing
	}
	r.mu.Unlock()
	for _, e := range es {
		r.area.records.set(r.repo, e.target, Waiting, text)
	}
}

// plan finds what pushing the manifest d takes.
func (r *Root) plan(ctx context.Context, p *plan, d v1.Descriptor, depth int) error {
	if p.seen[d.Digest] {
		return nil
	}
	p.seen[d.Digest] = true
	if depth > maxNesting || len(p.seen) > maxPieces {
		return fmt.Errorf("%w: it is nested deeper than %d or has more than %d pieces", ErrNoManifest, maxNesting, maxPieces)
	}
	f := r.complete(d.Digest)
	if f == nil {
		if p.skip[d.Digest] {
			p.missing[d.Digest] = true
			return nil
		}
		m, err := r.area.o.Tree.Manifest(ctx, r.repo, d.Digest)
		switch {
		case errors.Is(err, registry.ErrNotFound):
			p.missing[d.Digest] = true
			return nil
		case err != nil:
			return err
		}
		if depth == 0 { // its tag is what is to be pushed
			p.manifests = append(p.manifests, m)
		}
		return nil
	}
	raw, err := f.readAll(ctx, registry.MaxManifest)
	if err != nil {
		return err
	}
	m, err := registry.ParseManifest(raw, d.MediaType, d.Digest)
	if err == nil && int64(len(raw)) != d.Size {
		err = fmt.Errorf("its descriptor says %d bytes, and it has %d", d.Size, len(raw))
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrNoManifest, d.Digest, unkind(err))
	}
	for _, child := range m.Manifests {
		if err := r.plan(ctx, p, child, depth+1); err != nil {
			return err
		}
	}
	for _, b := range m.Blobs() {
		if err := r.planBlob(ctx, p, b); err != nil {
			return err
		}
	}
	p.manifests = append(p.manifests, m)
	return nil
}

func (r *Root) planBlob(ctx context.Context, p *plan, d v1.Descriptor) error {
	if _, twice := p.blobs[d.Digest]; twice || p.missing[d.Digest] {
		return nil
	}
	if f := r.complete(d.Digest); f != nil {
		if size := f.Attr().Size; size != d.Size {
			return fmt.Errorf("%w: the descriptor of %s says %d bytes, and it has %d", ErrNoManifest, d.Digest, d.Size, size)
		}
		p.blobs[d.Digest] = f
		return nil
	}
	if r.pushedAlready(d.Digest) {
		return nil
	}
	if len(p.blobs) > maxPieces {
		return fmt.Errorf("%w: it has more than %d pieces", ErrNoManifest, maxPieces)
	}
	if p.skip[d.Digest] {
		p.missing[d.Digest] = true
		return nil
	}
	_, err := r.area.o.Tree.Blob(ctx, r.repo, d.Digest)
	if errors.Is(err, registry.ErrNotFound) {
		if foreign(d) {
			return nil
		}
		p.missing[d.Digest] = true
		return nil
	}
	return err
}

// foreign says whether a layer is one that registries don't have, as its licence
// forbids to pass it on.
func foreign(d v1.Descriptor) bool {
	return strings.Contains(d.MediaType, ".nondistributable.") || strings.HasPrefix(d.MediaType, "application/vnd.docker.image.rootfs.foreign")
}

// carryOut pushes what is planned: blobs, then manifests, and the last of them
// under its tags.
func (r *Root) carryOut(ctx context.Context, p *plan, tags []string) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(maxAtOnce)
	for d, f := range p.blobs {
		g.Go(func() error { return r.pushBlob(gctx, f, d) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, m := range p.manifests {
		var under []string
		if i == len(p.manifests)-1 {
			under = tags
		}
		if len(under) == 0 && r.pushedAlready(m.Digest) {
			continue
		}
		err := r.pushManifest(ctx, m, under)
		if errors.Is(err, registry.ErrBlobUnknown) && len(p.blobs) > 0 {
			// The registry said that it had them, or lost them since.
			for d, f := range p.blobs {
				r.lost(d)
				if err := r.pushBlobAnew(ctx, f, d); err != nil {
					return err
				}
			}
			err = r.pushManifest(ctx, m, under)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
