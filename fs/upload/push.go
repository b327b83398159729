package upload

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// pushBlob pushes the bytes of a file, which have the digest d, unless the registry
// has them.
func (r *Root) pushBlob(ctx context.Context, f *File, d digest.Digest) error {
	return r.inTurn(ctx, f, d, func(p blobPush) error {
		lacking := r.area.o.Tree.Lacks(r.repo, d)
		// A blob that was copied from this very repository is there.
		if r.has.has(d) || p.from.Repository == r.repo && !lacking {
			return nil
		}
		return r.send(ctx, f, p, registry.Push{Absent: lacking})
	})
}

// pushBlobAnew is pushBlob of a blob that the registry is known to lack.
func (r *Root) pushBlobAnew(ctx context.Context, f *File, d digest.Digest) error {
	return r.inTurn(ctx, f, d, func(p blobPush) error { return r.send(ctx, f, p, registry.Push{Absent: true}) })
}

// blobPush is the push of a file as a blob.
type blobPush struct {
	blob    Blob
	from    Blob   // what the file stands for; the zero value: its bytes are on the disk
	ahead   *ahead // the bytes that were sent before the file was whole; nil: none were
	changes int    // how many the file had
}

// inTurn calls push with the turn to send the bytes of a file, which have the digest d. If that
// succeeds the registry has them. It fails with errChanged if the file was written since its
// bytes had that digest.
func (r *Root) inTurn(ctx context.Context, f *File, d digest.Digest, push func(blobPush) error) error {
	if err := f.sending.take(ctx); err != nil {
		return err
	}
	defer f.sending.give()
	p, err := f.toPush(d)
	if err != nil {
		return err
	}
	defer p.ahead.drop()
	if err := push(p); err != nil {
		return err
	}
	f.noteSent(p.changes)
	return nil
}

// noteSent notes that the registry has the bytes that the file had after so many changes.
func (f *File) noteSent(changes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes == changes {
		f.pushed = true
	}
}

// errChanged says that a file was written while it was about to be pushed. The writer's close
// pushes it.
var errChanged = fmt.Errorf("%w: it was written meanwhile", ErrIncomplete)

// toPush gives the push of the file as the blob d. It fails with errChanged if the file was
// written since its bytes had the digest d.
func (f *File) toPush(d digest.Digest) (blobPush, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known() != d || f.isBorrowed() && f.content.Size != f.size {
		return blobPush{}, errChanged
	}
	return blobPush{Blob{f.root.repo, d, f.size}, f.content, f.takeAhead(d), f.changes}, nil
}

// send pushes a blob, and shows its progress and what came of it.
func (r *Root) send(ctx context.Context, f *File, p blobPush, opts registry.Push) error {
	target := p.blob.Digest.String()
	r.area.records.set(r.repo, target, Pushing, "")
	err := r.sendShown(ctx, f, p, opts)
	r.area.record(r.repo, target, err)
	if err == nil {
		r.has.add(p.blob.Digest)
	}
	return err
}

// sendShown pushes a blob, and shows its progress.
func (r *Root) sendShown(ctx context.Context, f *File, p blobPush, opts registry.Push) error {
	a := r.area
	sent, err := p.ahead.wait(ctx)
	if err != nil {
		return err
	}
	t := a.active.begin(p.blob, a.now())
	defer a.active.end(t)
	opts.Ahead, opts.Sent = sent, t.sent.Store
	if p.from.Repository != (ref.Repository{}) && p.from.Repository.Host == r.repo.Host {
		opts.From = []ref.Repository{p.from.Repository}
	}
	if _, err := a.o.Client.PushBlob(ctx, r.repo, p.blob.descriptor(), f.source, opts); err != nil {
		return err
	}
	a.o.Tree.PushedBlob(p.blob)
	return nil
}

// pushManifest pushes a manifest by its tags, or by its digest where it has none,
// and shows it.
func (r *Root) pushManifest(ctx context.Context, m *registry.Manifest, tags []string) error {
	if err := r.area.o.Client.PushManifest(ctx, r.repo, m, tags...); err != nil {
		return err
	}
	r.has.add(m.Digest)
	r.manifestPushed(m.Digest)
	r.area.o.Tree.PushedManifest(r.repo, m, tags...)
	return nil
}

// manifestPushed notes that the registry has the manifest d.
func (r *Root) manifestPushed(d digest.Digest) {
	if f := r.complete(d); f != nil {
		f.notePushedAs(d)
	}
	r.area.records.drop(r.repo, d.String(), Waiting)
	r.area.noted(r.repo, d.String())
}

// notePushedAs notes that the manifest d was pushed, if these still are its bytes.
func (f *File) notePushedAs(d digest.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known() == d {
		f.pushed, f.manifest = true, true
	}
}

// pushNamedManifest pushes a manifest from upload/manifests/. What of it is staged
// goes first; whether the rest is there, the registry knows.
func (r *Root) pushNamedManifest(ctx context.Context, m *registry.Manifest, tag string) error {
	p := newPlan()
	for _, b := range m.Blobs() {
		if f := r.complete(b.Digest); f != nil && !r.has.has(b.Digest) {
			p.blobs[b.Digest] = f
		}
	}
	for _, child := range m.Manifests {
		if r.complete(child.Digest) == nil || r.has.has(child.Digest) {
			continue
		}
		if err := r.planChild(ctx, p, child, 0); err != nil && !errors.Is(err, registry.ErrNotFound) {
			return err
		}
	}
	p.manifests = append(p.manifests, m)
	var tags []string
	if tag != "" {
		tags = []string{tag}
	}
	return r.carryOut(ctx, p, tags)
}
