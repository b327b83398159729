package upload

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// pushBlob pushes the bytes of a file as the blob d, unless the registry has the blob. The bytes
// have the digest d.
func (r *Root) pushBlob(ctx context.Context, f *File, d digest.Digest) error {
	return r.inTurn(ctx, f, d, func(p blobPush) error {
		lacking := r.area.o.Tree.Lacks(r.repo, d)
		// A blob that was copied from this same repository is there.
		if r.has.has(d) || p.from.Repository == r.repo && !lacking {
			return nil
		}
		return r.send(ctx, f, p, registry.Push{Absent: lacking})
	})
}

// pushBlobAnew pushes a blob that the registry is known to lack.
func (r *Root) pushBlobAnew(ctx context.Context, f *File, d digest.Digest) error {
	return r.inTurn(ctx, f, d, func(p blobPush) error { return r.send(ctx, f, p, registry.Push{Absent: true}) })
}

// blobPush is the push of a file as a blob.
type blobPush struct {
	blob    Blob
	from    Blob   // the blob that the file stands for; zero: its bytes are on disk
	ahead   *ahead // the sender that sent bytes early; nil: there is none
	changes int    // File.changes at the start of the push
}

// inTurn calls push while it holds the turn to send the bytes of a file. After push succeeds, the
// registry has the bytes. inTurn fails with errChanged if the file has changed since its bytes
// had the digest d.
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

// noteSent notes that the registry has the bytes, if the file has had no more changes than
// changes.
func (f *File) noteSent(changes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes == changes {
		f.pushed = true
	}
}

// errChanged says that a file was changed just before its push. The close of the writer pushes
// it.
var errChanged = fmt.Errorf("%w: it was written meanwhile", ErrIncomplete)

// toPush gives the push of the file as the blob d. It fails with errChanged if the file has
// changed since its bytes had the digest d.
func (f *File) toPush(d digest.Digest) (blobPush, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known() != d || f.isBorrowed() && f.content.Size != f.size {
		return blobPush{}, errChanged
	}
	return blobPush{Blob{f.root.repo, d, f.size}, f.content, f.takeAhead(d), f.changes}, nil
}

// send pushes a blob. It shows the progress as a Transfer, and the result as a Record.
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

// sendShown pushes a blob, and shows the progress as a Transfer.
func (r *Root) sendShown(ctx context.Context, f *File, p blobPush, opts registry.Push) error {
	a := r.area
	if !opts.Absent && p.ahead.leftUnasked(p.blob) {
		_, err := a.o.Tree.Blob(ctx, r.repo, p.blob.Digest)
		if err == nil {
			return nil // inTurn gives up what was sent
		}
		opts.Absent = errors.Is(err, registry.ErrNotFound)
	}
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

// pushManifest pushes a manifest under its tags, or by digest if it has no tags. The mount then
// shows it.
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

// notePushedAs notes that the manifest d was pushed, if the file still has its bytes.
func (f *File) notePushedAs(d digest.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known() == d {
		f.pushed, f.manifest = true, true
	}
}

// pushNamedManifest pushes a manifest from upload/manifests/. It pushes the staged pieces of the
// manifest first. The registry refuses the manifest if it lacks the other pieces.
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
