package upload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// Limits on the push of one image.
const (
	// maxNesting is how many indexes may stand inside each other.
	maxNesting = 16
	// maxPieces is how many manifests, and how many staged blobs, one image may have.
	maxPieces = 20_000
	// maxAtOnce is how many blobs of one image are sent at the same time.
	maxAtOnce = 4
)

// plan holds the pieces that the push of one image sends. Root.plan and its helpers fill it
// in, carryOut sends it. One goroutine uses it, so it has no lock.
type plan struct {
	// blobs are the staged blobs to send, each with the file that has its bytes.
	blobs map[digest.Digest]*File
	// manifests are in the order of the push: children before the manifests that name
	// them, the top last.
	manifests []*registry.Manifest
	// missing are the pieces that are neither staged nor at the registry.
	missing pieces
	// seen are the manifests that are planned already.
	seen map[digest.Digest]bool
	// skip are the pieces that the registry lacked a moment ago. The plan takes them for
	// missing without a request.
	skip pieces
	// subjects are the child manifests of the top, each with the digest of its subject.
	// "" means that the child has no subject.
	subjects map[digest.Digest]digest.Digest
}

func newPlan() *plan {
	return &plan{
		blobs: map[digest.Digest]*File{}, missing: pieces{}, seen: map[digest.Digest]bool{}, skip: pieces{},
		subjects: map[digest.Digest]digest.Digest{},
	}
}

// refersTo says whether every child of the top has the given subject.
func (p *plan) refersTo(subject digest.Digest) bool {
	for _, s := range p.subjects {
		if s != subject {
			return false
		}
	}
	return true
}

// pushEntries pushes index entries that all have the same digest. If a piece of the image is
// missing, the entries wait for it and pushEntries returns nil.
func (r *Root) pushEntries(ctx context.Context, es []*entry, why occasion) error {
	p := newPlan()
	var tags []string
	for _, e := range es {
		maps.Copy(p.skip, why.stillMissing(e.missing))
		if e.tag != "" {
			tags = append(tags, e.tag)
		}
		r.area.records.set(r.repo, e.target, Pushing, "")
	}
	err := r.planEntry(ctx, p, es[0].desc, tags)
	if err == nil && len(p.missing) > 0 {
		r.wait(es, p.missing)
		return nil
	}
	subject := es[0].subject
	switch {
	case err != nil:
	case subject != "" && p.refersTo(subject):
		err = r.pushReferrers(ctx, p, es[0].desc.Digest)
	default:
		err = r.carryOut(ctx, p, tags)
	}
	r.noteTried(es, err == nil, nil)
	for _, e := range es {
		r.area.record(r.repo, e.target, err)
	}
	return err
}

// pushReferrers pushes the referrers that a fallback tag lists, but not the tag's index. The
// registry lists referrers itself, or PushManifest updates the fallback tag.
func (r *Root) pushReferrers(ctx context.Context, p *plan, index digest.Digest) error {
	p.manifests = slices.DeleteFunc(p.manifests, func(m *registry.Manifest) bool { return m.Digest == index })
	if err := r.carryOut(ctx, p, nil); err != nil {
		return err
	}
	r.manifestPushed(index)
	return nil
}

// noteTried notes the result of a push in its entries. missing are the pieces that the
// entries wait for; nil means none.
func (r *Root) noteTried(es []*entry, pushed bool, missing pieces) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range es {
		e.tried, e.pushed, e.missing = true, pushed, missing
	}
}

// wait makes entries wait for missing pieces.
func (r *Root) wait(es []*entry, missing pieces) {
	r.noteTried(es, false, missing)
	for _, e := range es {
		r.area.records.set(r.repo, e.target, Waiting, missing.reason())
	}
}

// planEntry plans the push of one index entry. An entry that has a tag must be a manifest. An
// entry without a tag may also be a blob.
func (r *Root) planEntry(ctx context.Context, p *plan, d v1.Descriptor, tags []string) error {
	isBlob := !canBeManifest(d)
	if isBlob && len(tags) > 0 {
		return fmt.Errorf("%w: %s is %s, and a tag points at a manifest", ErrNoManifest, d.Digest, d.MediaType)
	}
	if isBlob {
		return r.planBlob(ctx, p, d, label("blob", d))
	}
	return r.plan(ctx, p, d, label("manifest", d), 0)
}

// checkAlgorithm refuses a digest that can't be verified. No registry accepts such a piece,
// so an entry would wait for it for ever.
func checkAlgorithm(d v1.Descriptor) error {
	if _, err := ref.ParseDigest(d.Digest.String()); err != nil {
		return fmt.Errorf("%w: it names %s: %w", ErrNoManifest, d.Digest, unkind(err))
	}
	return nil
}

// label is the name of a piece in messages.
func label(what string, d v1.Descriptor) string { return what + " " + d.Digest.String() }

// childLabel is the name of an index's child in messages: its platform, if it has one.
func childLabel(d v1.Descriptor) string {
	p := d.Platform
	switch {
	case d.Annotations[registry.AnnotationReferenceType] != "":
		return label("an attestation", d)
	case p == nil || p.OS == "":
		return label("manifest", d)
	case p.Variant != "":
		return fmt.Sprintf("%s/%s/%s (%s)", p.OS, p.Architecture, p.Variant, d.Digest)
	default:
		return fmt.Sprintf("%s/%s (%s)", p.OS, p.Architecture, d.Digest)
	}
}

// plan plans the push of the manifest d. name is its name in messages if it is missing. depth
// is the number of indexes above it.
func (r *Root) plan(ctx context.Context, p *plan, d v1.Descriptor, name string, depth int) error {
	if p.seen[d.Digest] {
		return nil
	}
	p.seen[d.Digest] = true
	if err := checkAlgorithm(d); err != nil {
		return err
	}
	if depth > maxNesting || len(p.seen) > maxPieces {
		return fmt.Errorf("%w: it is nested deeper than %d or has more than %d pieces", ErrNoManifest, maxNesting, maxPieces)
	}
	f := r.complete(d.Digest)
	if f == nil {
		return r.planRemote(ctx, p, d, name, depth)
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
	p.note(m, depth)
	for _, child := range m.Manifests {
		if err := r.planChild(ctx, p, child, depth); err != nil {
			return err
		}
	}
	for n, b := range m.Blobs() {
		what := "layer"
		if m.Config != nil && n == 0 {
			what = "config"
		}
		if err := r.planBlob(ctx, p, b, fmt.Sprintf("%s of %s", label(what, b), name)); err != nil {
			return err
		}
	}
	p.manifests = append(p.manifests, m)
	return nil
}

// note keeps the subject of a manifest at depth 1, which is a child of the top.
func (p *plan) note(m *registry.Manifest, depth int) {
	if depth != 1 {
		return
	}
	p.subjects[m.Digest] = ""
	if m.Subject != nil {
		p.subjects[m.Digest] = m.Subject.Digest
	}
}

// planChild plans a child of an index. A child whose media type isn't that of a manifest is a
// blob: BuildKit's cache indexes list layers as children (BuildKit without
// image-manifest=true, seen 2026).
func (r *Root) planChild(ctx context.Context, p *plan, d v1.Descriptor, depth int) error {
	if !canBeManifest(d) {
		return r.planBlob(ctx, p, d, label("blob", d))
	}
	return r.plan(ctx, p, d, childLabel(d), depth+1)
}

// planRemote plans a manifest that isn't staged. Either the registry has it, or it is
// missing.
func (r *Root) planRemote(ctx context.Context, p *plan, d v1.Descriptor, name string, depth int) error {
	if _, known := p.skip[d.Digest]; known {
		p.missing[d.Digest] = name
		return nil
	}
	m, err := r.area.o.Tree.Manifest(ctx, r.repo, d.Digest)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		p.missing[d.Digest] = name
		return nil
	case err != nil:
		return err
	}
	p.note(m, depth)
	if depth == 0 { // the top is pushed again, under its tag
		p.manifests = append(p.manifests, m)
	}
	return nil
}

// planBlob plans a blob. name is its name in messages if it is missing.
func (r *Root) planBlob(ctx context.Context, p *plan, d v1.Descriptor, name string) error {
	if _, twice := p.blobs[d.Digest]; twice || p.missing[d.Digest] != "" {
		return nil
	}
	if err := checkAlgorithm(d); err != nil {
		return err
	}
	if f := r.complete(d.Digest); f != nil {
		if size, _ := f.extent(); size != d.Size {
			return fmt.Errorf("%w: the descriptor of %s says %d bytes, and it has %d", ErrNoManifest, d.Digest, d.Size, size)
		}
		p.blobs[d.Digest] = f
		return nil
	}
	if r.has.has(d.Digest) {
		return nil
	}
	if len(p.blobs) > maxPieces {
		return fmt.Errorf("%w: it has more than %d pieces", ErrNoManifest, maxPieces)
	}
	if _, known := p.skip[d.Digest]; known {
		p.missing[d.Digest] = name
		return nil
	}
	_, err := r.area.o.Tree.Blob(ctx, r.repo, d.Digest)
	if errors.Is(err, registry.ErrNotFound) {
		if !registry.IsForeign(d) {
			p.missing[d.Digest] = name
		}
		return nil
	}
	return err
}

// carryOut pushes a plan: first the blobs, then the manifests. The last manifest gets the
// tags.
func (r *Root) carryOut(ctx context.Context, p *plan, tags []string) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(maxAtOnce)
	for d, f := range p.blobs {
		g.Go(func() error {
			return r.area.catch(func() error { return r.pushBlob(gctx, f, d) })
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, m := range p.manifests {
		var under []string
		if i == len(p.manifests)-1 {
			under = tags
		}
		if len(under) == 0 && r.has.has(m.Digest) {
			continue
		}
		err := r.pushManifest(ctx, m, under)
		if errors.Is(err, registry.ErrBlobUnknown) && len(p.blobs) > 0 {
			// The registry claimed to have a blob that it lacks, or it lost the
			// blob since.
			for d, f := range p.blobs {
				r.has.remove(d)
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
