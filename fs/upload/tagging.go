package upload

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

// pushImage pushes what the index.json of upload/<name>/ lists: all by digest, and the
// image under the directory's name. Where names don't say which entry that is, the tag
// follows when the program that wrote the index.json has ended, or nothing more came for
// a moment: programs list pieces of an image on their way to it, and some registries
// never let a tag move again. arrived is the piece that entries waited for, or "". The
// layout's turn is held.
func (r *Root) pushImage(ctx context.Context, d *Dir, arrived digest.Digest) error {
	listed, name, first := r.listedIn(d)
	c, err := chooseImage(listed, name, r.loader(ctx, d, arrived))
	now := c.sure == sure || c.sure == likely && (first || err != nil)
	entries := eachOnce(listed)
	switch tagged := r.tagEntry(d, name); {
	case now && c.tagged != nil:
		entries = with(entries, c.tagged)
	case tagged != nil:
		entries = append(entries, tagged) // until another image is known
	}
	pushed := r.pushAll(ctx, due(r.merge(d, entries), arrived), arrived)
	switch {
	case len(c.missing) > 0:
		r.undecided(d, name, c.missing)
	case now:
		r.stopFollow(d)
		if err != nil {
			r.area.record(r.repo, name, err)
		}
		return errors.Join(pushed, err)
	case len(listed) > 0:
		r.tagLater(d, name, c)
	default:
		r.stopFollow(d)
	}
	return pushed
}

// listedIn gives what is known of the index.json of a directory. first says that
// nothing else stood in it before.
func (r *Root) listedIn(d *Dir) (listed []*entry, name string, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.layout.listed, d.name, d.layout.versions <= 1
}

// tagEntry gives the entry by which a directory's name was pushed as a tag, or nil.
func (r *Root) tagEntry(d *Dir, name string) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.layout.entries[name]
}

// with gives the entries with one of them under a tag in place of its digest.
func with(es []*entry, tagged *entry) []*entry {
	var all []*entry
	for _, e := range es {
		if e.target != tagged.desc.Digest.String() && e.target != tagged.target {
			all = append(all, e)
		}
	}
	return append(all, tagged)
}

// due are the entries to be pushed when a piece arrived, or all where none did: those
// that waited for it, and those that weren't tried yet.
func due(es []*entry, arrived digest.Digest) (now []*entry) {
	for _, e := range es {
		_, waited := e.missing[arrived]
		if arrived == "" || waited || e.missing == nil && !e.tried {
			now = append(now, e)
		}
	}
	return now
}

// loader gives manifests that are staged in a repository, or that the registry has.
// Where a piece arrived, the others that were missing before are not asked for again.
func (r *Root) loader(ctx context.Context, d *Dir, arrived digest.Digest) loader {
	r.mu.Lock()
	skip := d.layout.undecided
	d.layout.undecided = nil
	r.mu.Unlock()
	return func(desc v1.Descriptor) (*registry.Manifest, error) {
		if f := r.complete(desc.Digest); f != nil {
			return r.parse(ctx, f, desc.Digest)
		}
		if _, known := skip[desc.Digest]; known && arrived != "" && arrived != desc.Digest {
			return nil, registry.ErrNotFound
		}
		return r.area.o.Tree.Manifest(ctx, r.repo, desc.Digest)
	}
}

// undecided has the tag of a directory wait for manifests.
func (r *Root) undecided(d *Dir, name string, missing pieces) {
	r.stopFollow(d)
	r.mu.Lock()
	d.layout.undecided = missing
	r.mu.Unlock()
	r.area.records.set(r.repo, name, Waiting, waitsFor(missing))
}

// tagLater has the tag of a directory follow, once the image itself is at the registry.
func (r *Root) tagLater(d *Dir, name string, c choice) {
	if c.tagged != nil {
		image, old := r.pushedAs(d, c.tagged.desc.Digest), r.tagEntry(d, name)
		switch {
		case old != nil && old.pushed && old.desc.Digest == c.tagged.desc.Digest:
			r.stopFollow(d) // it points there
			r.area.records.set(r.repo, name, Pushed, "")
			return
		case image != nil && len(image.missing) > 0:
			r.area.records.set(r.repo, name, Waiting, waitsFor(image.missing))
			return
		case image != nil && !image.pushed:
			r.area.records.set(r.repo, name, Failed, "its image isn't pushed")
			return
		}
	}
	r.area.records.set(r.repo, name, Pushing, "")
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.layout.follow.pending() {
		return
	}
	d.layout.follow = r.follow(name, d.layout.activity.over, func(ctx context.Context) error { return r.tagNow(ctx, d, name) })
}

// pushedAs gives the entry by which a digest is pushed, or nil.
func (r *Root) pushedAs(d *Dir, dgst digest.Digest) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return d.layout.entries[dgst.String()]
}

// tagNow gives an image the name of its directory as a tag, as nothing more came that
// could be the image.
func (r *Root) tagNow(ctx context.Context, d *Dir, name string) error {
	if err := d.layout.turn.take(ctx); err != nil {
		return err
	}
	defer d.layout.turn.give()
	listed, now, _ := r.listedIn(d)
	if now != name || len(listed) == 0 {
		return nil // meanwhile
	}
	c, err := chooseImage(listed, name, r.loader(ctx, d, ""))
	if err == nil && c.tagged == nil && len(c.missing) == 0 {
		err = fmt.Errorf("%w: none of the entries of its index.json is an image", ErrAmbiguous)
	}
	switch {
	case err != nil:
		r.area.record(r.repo, name, err)
	case len(c.missing) > 0:
		r.undecided(d, name, c.missing)
		return nil
	default:
		err = r.pushAll(ctx, r.merge(d, append(eachOnce(listed), c.tagged)), "")
	}
	if err != nil && ctx.Err() == nil {
		r.resettle(d, err)
	}
	return err
}

// stopFollow gives up the tag that was to follow, as another push does it.
func (r *Root) stopFollow(d *Dir) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.giveUp(d.layout.follow)
	d.layout.follow = nil
}

// waitsFor says what is missing.
func waitsFor(missing pieces) string {
	if len(missing) == 1 {
		return fmt.Sprintf("a piece is neither staged nor at the registry: %s", missing)
	}
	return fmt.Sprintf("%d pieces are neither staged nor at the registry: %s", len(missing), missing)
}
