package upload

import (
	"context"
	"errors"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

// pushImage pushes the entries of the index.json of upload/<name>/: all by digest, and the
// image under the directory's name. Where no name says which entry the image is, the push
// of the tag is deferred: programs list pieces of an image on their way to it, and some
// registries never let a tag move again. The layout's turn is held.
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
		entries = append(entries, tagged) // until another image is known
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

// noteImageless notes whether none of the entries of a directory is an image.
func (r *Root) noteImageless(d *Dir, imageless bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.layout.imageless = imageless
}

// listedIn gives the entries of a directory's index.json, and the directory's name. first
// says that it is the first index.json under that name.
func (r *Root) listedIn(d *Dir) (listed []*entry, name string, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.layout.listed, d.name, d.layout.versions <= 1
}

// entryOf gives the entry of a layout that is pushed, or to be pushed, as a target, or nil.
func (r *Root) entryOf(d *Dir, target string) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.layout.entries[target]
}

// with gives the entries with one of them under its tag in place of its digest.
func with(es []*entry, tagged *entry) []*entry {
	var all []*entry
	for _, e := range es {
		if e.target != tagged.desc.Digest.String() && e.target != tagged.target {
			all = append(all, e)
		}
	}
	return append(all, tagged)
}

// loader gives manifests that are staged, or that the registry has. Once a piece arrived, the
// registry isn't asked again for the others that were missing.
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

// takeUndecided gives the manifests that the tag of a directory waited for, which are looked
// for anew.
func (r *Root) takeUndecided(d *Dir) pieces {
	r.mu.Lock()
	defer r.mu.Unlock()
	missing := d.layout.undecided
	d.layout.undecided = nil
	return missing
}

// undecided has the tag of a directory wait for manifests.
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

// deferTag defers the push of a directory's tag, once the image itself is at the registry.
func (r *Root) deferTag(d *Dir, name string, c choice) {
	if c.tagged != nil {
		image, old := r.entryOf(d, c.tagged.desc.Digest.String()), r.entryOf(d, name)
		switch {
		case old != nil && old.pushed && old.desc.Digest == c.tagged.desc.Digest:
			r.giveUpTag(d) // it points there
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
	r.mu.Lock()
	defer r.mu.Unlock()
	d.layout.piece = c.tagged != nil && c.tagged.desc.Platform != nil && c.sure == guessed
	if d.layout.deferred.pending() {
		return
	}
	due := func(while time.Duration) bool {
		if r.isPiece(d) {
			while = max(while, deferPieceFor)
		}
		return d.layout.activity.over(while)
	}
	d.layout.deferred = r.deferPush(name, name, due, func(ctx context.Context) error { return r.pushDeferredTag(ctx, d, name) })
}

// isPiece says whether the entry that would be tagged looks like a child of an index that
// is yet to come.
func (r *Root) isPiece(d *Dir) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.layout.piece
}

// pushDeferredTag gives an image the name of its directory as a tag: nothing more came that
// could be the image.
func (r *Root) pushDeferredTag(ctx context.Context, d *Dir, name string) error {
	if err := d.layout.turn.take(ctx); err != nil {
		return err
	}
	defer d.layout.turn.give()
	listed, now, _ := r.listedIn(d)
	if now != name || len(listed) == 0 {
		return nil // meanwhile
	}
	c, err := chooseImage(listed, name, r.loader(ctx, d, rewritten))
	switch {
	case err == nil && c.none():
		return nil // meanwhile
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
