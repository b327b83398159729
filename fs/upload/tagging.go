package upload

import (
	"context"
	"errors"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

// pushImage pushes the index.json of upload/<name>/: all entries by digest, and the image
// under the directory's name. If no entry has that name, the push of the tag is deferred, for
// two reasons: programs list pieces of an image before the image itself, and some registries
// never let a tag move again. The layout's turn is held.
func (r *Root) pushImage(ctx context.Context, d *Dir, why occasion) error {
	listed, name, first := r.listedIn(d)
	if !why.isArrival() {
		r.checkTag(ctx, d, name)
	}
	c, err := chooseImage(listed, name, r.loader(ctx, d, why))
	now := c.sure == sure || c.sure == likely && (first || err != nil)
	entries := eachOnce(listed)
	tagged := r.entryOf(d, name)
	switch {
	case now && c.tagged != nil:
		entries = with(entries, c.tagged)
	case tagged != nil:
		entries = append(entries, tagged) // keeps the old tag until another image is known
	}
	pushed := r.pushAll(ctx, why.due(r.merge(d, entries)), why)
	imageless := len(listed) > 0 && c.none() && err == nil
	r.noteImageless(d, imageless)
	switch {
	case len(c.missing) > 0:
		r.undecided(d, name, c.missing)
	case now || imageless:
		r.giveUpTag(d)
		if err != nil {
			r.area.record(r.repo, name, err)
		}
		return errors.Join(pushed, err)
	case len(listed) > 0:
		r.deferTag(d, name, c)
	default:
		r.giveUpTag(d)
	}
	return pushed
}

// noteImageless notes whether an index.json lists entries but no image.
func (r *Root) noteImageless(d *Dir, imageless bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.layout.imageless = imageless
}

// listedIn gives the entries of a directory's index.json, and the directory's name. first
// says that no earlier version of the index.json came under this name.
func (r *Root) listedIn(d *Dir) (listed []*entry, name string, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.layout.listed, d.name, d.layout.versions <= 1
}

// entryOf gives the entry of a layout that has a target; nil if there is none.
func (r *Root) entryOf(d *Dir, target string) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.layout.entries[target]
}

// with gives the entries, with tagged in place of the entry that pushes it by digest.
func with(es []*entry, tagged *entry) []*entry {
	var all []*entry
	for _, e := range es {
		if e.target != tagged.desc.Digest.String() && e.target != tagged.target {
			all = append(all, e)
		}
	}
	return append(all, tagged)
}

// loader loads manifests from the staging area, else from the registry. If why is the arrival
// of a piece, the loader doesn't ask the registry again for the other pieces that were
// missing.
func (r *Root) loader(ctx context.Context, d *Dir, why occasion) loader {
	missing := why.stillMissing(r.takeUndecided(d))
	return func(desc v1.Descriptor) (*registry.Manifest, error) {
		if f := r.complete(desc.Digest); f != nil {
			return r.parse(ctx, f, desc.Digest)
		}
		if _, known := missing[desc.Digest]; known {
			return nil, registry.ErrNotFound
		}
		return r.area.o.Tree.Manifest(ctx, r.repo, desc.Digest)
	}
}

// takeUndecided gives the manifests that the tag of a directory waits for, and clears them:
// pushImage looks for them again.
func (r *Root) takeUndecided(d *Dir) pieces {
	r.mu.Lock()
	defer r.mu.Unlock()
	missing := d.layout.undecided
	d.layout.undecided = nil
	return missing
}

// undecided makes the tag of a directory wait for manifests.
func (r *Root) undecided(d *Dir, name string, missing pieces) {
	r.giveUpTag(d)
	r.setUndecided(d, missing)
	r.area.records.set(r.repo, name, Waiting, missing.reason())
}

func (r *Root) setUndecided(d *Dir, missing pieces) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.layout.undecided = missing
}

// deferTag defers the push of a directory's tag, if the image itself is at the registry.
func (r *Root) deferTag(d *Dir, name string, c choice) {
	if c.tagged != nil {
		image, old := r.entryOf(d, c.tagged.desc.Digest.String()), r.entryOf(d, name)
		switch {
		case old != nil && old.pushed && old.desc.Digest == c.tagged.desc.Digest:
			r.giveUpTag(d) // the tag points to it already
			r.area.records.set(r.repo, name, Pushed, "")
			return
		case image != nil && len(image.missing) > 0:
			r.area.records.set(r.repo, name, Waiting, image.missing.reason())
			return
		case image != nil && !image.pushed:
			r.area.records.set(r.repo, name, Failed, "its image isn't pushed")
			return
		}
	}
	r.area.records.set(r.repo, name, Pushing, "")
	if p := r.startDeferred(d, name, c); p != nil {
		<-p.told
	}
}

// startDeferred starts the deferred push of a directory's tag. It gives nil if that push is
// pending already.
func (r *Root) startDeferred(d *Dir, name string, c choice) *deferredPush {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.layout.piece = c.tagged != nil && c.tagged.desc.Platform != nil && c.sure == guessed
	if d.layout.deferred.pending() {
		return nil
	}
	due := func(while time.Duration) bool {
		if r.isPiece(d) {
			while = max(while, deferPieceFor)
		}
		return d.layout.activity.over(while)
	}
	d.layout.deferred = r.deferPush(name, name, due, func(ctx context.Context) error { return r.pushDeferredTag(ctx, d, name) })
	return d.layout.deferred
}

// isPiece says whether the entry to be tagged looks like a child of an index that isn't
// written yet.
func (r *Root) isPiece(d *Dir) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.layout.piece
}

// pushDeferredTag pushes the image of a directory under the directory's name, after nothing
// more has come that could be the image.
func (r *Root) pushDeferredTag(ctx context.Context, d *Dir, name string) error {
	if err := d.layout.turn.take(ctx); err != nil {
		return err
	}
	defer d.layout.turn.give()
	listed, now, _ := r.listedIn(d)
	if now != name || len(listed) == 0 {
		return nil // renamed or emptied meanwhile
	}
	c, err := chooseImage(listed, name, r.loader(ctx, d, rewritten))
	switch {
	case err == nil && c.none():
		return nil // no image is left meanwhile
	case err != nil:
		r.area.record(r.repo, name, err)
	case len(c.missing) > 0:
		r.undecided(d, name, c.missing)
		return nil
	default:
		err = r.pushAll(ctx, r.merge(d, append(eachOnce(listed), c.tagged)), rewritten)
	}
	if err != nil && ctx.Err() == nil {
		r.setResult(d, err)
	}
	return err
}

// giveUpTag gives up the deferred push of a directory's tag.
func (r *Root) giveUpTag(d *Dir) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.giveUp(d.layout.deferred)
	d.layout.deferred = nil
}
