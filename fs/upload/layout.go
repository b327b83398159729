package upload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
)

// layout is what the area knows of a directory's index.json.
type layout struct {
	turn     turn     // held to push the entries
	activity activity // anything that happens in the directory

	// Root.mu guards the fields below. The holder of turn alone adds entries and changes
	// an entry. Others only drop entries, when the index.json is removed (unlist) or the
	// registry deletes a target (deleted).
	// listed are the entries of the present index.json; nil: none.
	listed []*entry
	// versions counts the versions of the index.json since the directory got its name.
	versions int
	// entries are the pushed entries and those to push, by target; nil: none.
	entries map[string]*entry
	// undecided are the manifests that must arrive before the image is known. Empty means
	// that none must.
	undecided pieces
	// imageless says that index.json lists entries, but no image.
	imageless bool
	// piece says that the image may be a child of an index that isn't written yet.
	piece bool
	// deferred is the deferred push of the tag; nil: there was none.
	deferred *deferredPush
	// problem is why index.json can't be read; nil: it can.
	problem error
	// attended says that a goroutine waits for the directory to be quiet.
	attended bool
	// reported has, for each target that waits, the reason that was reported to a person.
	reported map[string]string
}

// pieces are the digests of missing pieces, each with its name for messages.
type pieces map[digest.Digest]string

// reason says that the pieces are missing, and names the first five.
func (ps pieces) reason() string {
	const most = 5
	all := slices.Sorted(maps.Values(ps))
	text := strings.Join(all[:min(len(all), most)], ", ")
	if len(all) > most {
		text += fmt.Sprintf(" and %d more", len(all)-most)
	}
	if len(all) == 1 {
		return "a piece is neither staged nor at the registry: " + text
	}
	return fmt.Sprintf("%d pieces are neither staged nor at the registry: %s", len(all), text)
}

func newLayout(now func() time.Time) layout {
	return layout{activity: activity{now: now}}
}

// commitIndex pushes the new entries of an index.json. An index.json that can't be read
// counts as not complete: it is reported to a person once nothing more comes.
func (r *Root) commitIndex(ctx context.Context, f *File, d *Dir) (bool, error) {
	raw, err := f.readAll(ctx, registry.MaxManifest)
	if err != nil {
		return true, err
	}
	index, err := parseIndex(raw)
	if err := d.layout.turn.take(ctx); err != nil {
		return true, err
	}
	defer d.layout.turn.give()
	kind := r.list(d, index.Manifests, err)
	switch {
	case err != nil:
		return false, nil
	case kind == anyImages:
		return true, r.pushListed(ctx, d)
	}
	return true, r.pushImage(ctx, d, rewritten)
}

// list stores the entries of an index.json, or the problem that makes it unreadable.
func (r *Root) list(d *Dir, ds []v1.Descriptor, problem error) layoutKind {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.layout.problem = problem
	if problem == nil {
		d.layout.listed = readEntries(ds, r.kindOf(d))
		d.layout.versions++
	}
	return r.kindOf(d)
}

// kindOf says how the entries of a directory's index.json get their tags.
func (r *Root) kindOf(d *Dir) layoutKind {
	if d == r.top {
		return anyImages
	}
	return oneImage
}

// pushListed pushes the entries of the index.json of upload/ itself.
func (r *Root) pushListed(ctx context.Context, d *Dir) error {
	listed, _, _ := r.listedIn(d)
	es := eachOnce(listed)
	if len(es) == 1 {
		r.checkTag(ctx, d, es[0].tag)
	}
	return r.pushAll(ctx, r.merge(d, es), rewritten)
}

// checkTag makes an image be pushed again if its tag points elsewhere by now. It is for an
// index.json with one image: a program that writes that once more means this image. An
// index.json of several images was written for another one of them, and moves no tag back.
// The layout's turn is held.
func (r *Root) checkTag(ctx context.Context, d *Dir, tag string) {
	e := r.entryOf(d, tag)
	if e == nil || !e.pushed || e.tag == "" {
		return
	}
	points, err := r.area.o.Tree.TagPoints(ctx, r.repo, tag)
	if err == nil && points == e.desc.Digest {
		return
	}
	r.notPushed(e)
}

// notPushed makes an entry be pushed again.
func (r *Root) notPushed(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.pushed = false
}

// merge stores the entries that an index.json has now. It gives those to push: new entries,
// entries that point elsewhere, and entries that aren't pushed yet.
func (r *Root) merge(d *Dir, entries []*entry) (todo []*entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := make(map[string]*entry, len(entries))
	for _, e := range entries {
		if old := d.layout.entries[e.target]; old != nil && old.means(e) {
			e = old
		}
		now[e.target] = e
		if !e.pushed {
			todo = append(todo, e)
		}
	}
	for target, old := range d.layout.entries {
		if now[target] == nil && !old.pushed {
			r.area.records.drop(r.repo, target, Waiting)
		}
	}
	d.layout.entries = now
	return todo
}

// pushAll pushes entries. An entry that fails doesn't stop the others.
func (r *Root) pushAll(ctx context.Context, todo []*entry, why occasion) error {
	var errs []error
	var sound []*entry
	for _, e := range todo {
		if e.err == nil {
			sound = append(sound, e)
			continue
		}
		r.area.record(r.repo, e.target, e.err)
		errs = append(errs, e.err)
	}
	for _, es := range byDigest(sound) {
		errs = append(errs, r.pushEntries(ctx, es, why))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// arrived pushes the entries that wait for d. An entry that lacks other pieces too waits on.
func (r *Root) arrived(ctx context.Context, d digest.Digest) error {
	var errs []error
	for _, dir := range r.layouts() {
		errs = append(errs, r.arrivedIn(ctx, dir, d))
	}
	return errors.Join(errs...)
}

func (r *Root) arrivedIn(ctx context.Context, dir *Dir, d digest.Digest) error {
	if !r.mayNeed(dir, d) {
		return nil
	}
	if err := dir.layout.turn.take(ctx); err != nil {
		return err
	}
	defer dir.layout.turn.give()
	waiting, decides := r.needing(dir, d)
	if len(waiting) == 0 && !decides {
		return nil
	}
	var err error
	if r.kindOf(dir) == anyImages {
		err = r.pushAll(ctx, waiting, arrival(d))
	} else {
		err = r.pushImage(ctx, dir, arrival(d))
	}
	if ctx.Err() == nil {
		r.setResult(dir, err)
	}
	return err
}

// needing gives the entries of a layout that wait for d. decides says that d decides which
// entry is the image.
func (r *Root) needing(dir *Dir, d digest.Digest) (todo []*entry, decides bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range dir.layout.entries {
		if _, ok := e.missing[d]; ok {
			todo = append(todo, e)
		}
	}
	_, decides = dir.layout.undecided[d]
	return todo, decides
}

// setResult replaces the result of an index.json by that of a later push.
func (r *Root) setResult(dir *Dir, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := dir.children[indexName].(*File); ok {
		f.replaceResult(err)
	}
}

// replaceResult replaces the result of the last push, unless the file has changed since.
func (f *File) replaceResult(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.resultOf == f.changes {
		f.result = err
	}
}

// mayNeed says whether an entry of a layout waits for d, or may wait for it when the push
// that holds the layout's turn ends.
func (r *Root) mayNeed(dir *Dir, d digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := dir.layout.undecided[d]; ok {
		return true
	}
	for _, e := range dir.layout.entries {
		_, missing := e.missing[d]
		if !e.pushed && (dir.layout.turn.isTaken() || missing) {
			return true
		}
	}
	return false
}

// layouts gives the directories that can be layouts.
func (r *Root) layouts() []*Dir {
	r.mu.Lock()
	defer r.mu.Unlock()
	ds := []*Dir{r.top}
	for _, n := range r.top.children {
		if d, ok := n.(*Dir); ok && d.isLayout() {
			ds = append(ds, d)
		}
	}
	return ds
}

// deleted drops the entries of a tag or a digest that was deleted at the registry. Staging
// them again pushes them again.
func (r *Root) deleted(target string) {
	r.has.remove(digest.Digest(target))
	for _, d := range r.layouts() {
		r.dropEntries(d, target)
	}
}

// dropEntries drops the entries of a layout whose target, or whose digest, is target.
func (r *Root) dropEntries(d *Dir, target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, e := range d.layout.entries {
		if key == target || e.desc.Digest.String() == target {
			delete(d.layout.entries, key)
		}
	}
}

// dropReported drops the records of a removed directory that report what waits. Root.mu is
// held.
func (d *Dir) dropReported() {
	for target := range d.layout.reported {
		d.root.area.records.drop(d.root.repo, target, Waiting)
	}
	clear(d.layout.reported)
}

// unlist drops the unpushed entries of a layout whose index.json is gone. Root.mu is held.
func (d *Dir) unlist() {
	for target, e := range d.layout.entries {
		if !e.pushed {
			d.root.area.records.drop(d.root.repo, target, Waiting)
			delete(d.layout.entries, target)
		}
	}
	d.root.area.records.drop(d.root.repo, d.name, Waiting)
	d.layout.listed, d.layout.undecided, d.layout.problem, d.layout.imageless = nil, nil, nil, false
	d.root.giveUp(d.layout.deferred)
	d.layout.deferred = nil
}
