package upload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// turn is held by one at a time.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn. Each that succeeds is paired with a give.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { <-t }

// hasFor is how long it is believed that the registry has what was pushed.
const hasFor = time.Hour

func (r *Root) pushedAlready(d digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.has[d])
}

// lost forgets that the registry has d.
func (r *Root) lost(d digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.has, d)
}

// gained remembers that the registry has d.
func (r *Root) gained(d digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.has[d] = time.Now().Add(hasFor)
}

// pushBlob pushes the bytes of a file, which have the digest d, unless the registry
// has them.
func (r *Root) pushBlob(ctx context.Context, f *File, d digest.Digest) error {
	return r.pushOnce(ctx, f, d, r.area.o.Tree.Lacks(r.repo, d))
}

// pushBlobAnew is pushBlob without asking whether the registry has them.
func (r *Root) pushBlobAnew(ctx context.Context, f *File, d digest.Digest) error {
	return r.pushOnce(ctx, f, d, true)
}

func (r *Root) pushOnce(ctx context.Context, f *File, d digest.Digest, absent bool) error {
	if err := f.sending.take(ctx); err != nil {
		return err
	}
	defer f.sending.give()
	b, from, ahead, changes, err := f.toPush(d)
	if err != nil {
		return err
	}
	defer ahead.drop()
	// What was copied from this very repository is there.
	if !r.pushedAlready(d) && (from.Repository != r.repo || absent) {
		r.area.records.set(r.repo, d.String(), Pushing, "")
		err := r.send(ctx, f, b, from, absent, ahead)
		r.area.record(r.repo, d.String(), err)
		if err != nil {
			return err
		}
		r.gained(d)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes == changes {
		f.pushed = true
	}
	return nil
}

// errChanged says that a file was written while it was about to be pushed. The writer's close
// pushes it.
var errChanged = fmt.Errorf("%w: it was written meanwhile", ErrIncomplete)

// toPush gives the blob d that the file is pushed as, the blob that the file stands for, the
// bytes that were sent ahead, and how many changes the file had. It fails with errChanged
// if the file was written since its bytes had the digest d.
func (f *File) toPush(d digest.Digest) (b, from Blob, sent *ahead, changes int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known() != d || f.content.Digest != "" && f.content.Size != f.size {
		return b, from, nil, 0, errChanged
	}
	return Blob{f.root.repo, d, f.size}, f.content, f.takeAhead(d), f.changes, nil
}

// send pushes a blob, and shows its progress.
func (r *Root) send(ctx context.Context, f *File, b, from Blob, absent bool, ahead *ahead) error {
	a := r.area
	sent, err := ahead.wait(ctx)
	if err != nil {
		return err
	}
	t := a.active.begin(b)
	defer a.active.end(t)
	p := registry.Push{Absent: absent, Ahead: sent, Sent: t.sent.Store}
	if from.Repository != (ref.Repository{}) && from.Repository.Host == r.repo.Host {
		p.From = []ref.Repository{from.Repository}
	}
	_, err = a.o.Client.PushBlob(ctx, r.repo, b.descriptor(), f.source, p)
	if err != nil {
		return err
	}
	a.o.Tree.PushedBlob(b)
	return nil
}

// source opens the bytes that are pushed.
func (f *File) source(ctx context.Context) (registry.Source, error) {
	f.mu.Lock()
	b := f.content
	f.mu.Unlock()
	if b.Digest != "" {
		return f.root.area.o.Tree.OpenBlob(ctx, b)
	}
	if err := f.hold(false); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &source{f, f.disk}, nil
}

type source struct {
	f    *File
	disk interface {
		ReadAt(p []byte, off int64) (int, error)
	}
}

func (s *source) ReadAt(p []byte, off int64) (int, error) { return s.disk.ReadAt(p, off) }

func (s *source) Close() error {
	s.f.letGo()
	return nil
}

// pushManifest pushes a manifest by its tags, or by its digest where it has none,
// and shows it.
func (r *Root) pushManifest(ctx context.Context, m *registry.Manifest, tags []string) error {
	if err := r.area.o.Client.PushManifest(ctx, r.repo, m, tags...); err != nil {
		return err
	}
	r.gained(m.Digest)
	r.manifestPushed(m.Digest)
	r.area.o.Tree.PushedManifest(r.repo, m, tags...)
	return nil
}

// manifestPushed notes that the registry has the manifest d.
func (r *Root) manifestPushed(d digest.Digest) {
	if f := r.complete(d); f != nil {
		f.notePushedAs(d)
	}
	r.area.records.forget(r.repo, d.String(), Waiting)
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
		if f := r.complete(b.Digest); f != nil && !r.pushedAlready(b.Digest) {
			p.blobs[b.Digest] = f
		}
	}
	for _, child := range m.Manifests {
		if r.complete(child.Digest) == nil || r.pushedAlready(child.Digest) {
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
