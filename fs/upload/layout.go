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

	"github.com/ocifs/ocifs/registry"
)

// layout is what is known of a directory's index.json. All but turn and activity is
// guarded by Root.mu, and written by the holder of turn.
type layout struct {
	turn     turn     // to push entries
	activity activity // of anything in the directory

	listed   []*entry          // as index.json lists them now
	versions int               // how many different index.jsons there were
	entries  map[string]*entry // what is pushed, or to be pushed, by target
	// undecided are the manifests that have to come for the image to be known; empty
	// where the image is known.
	undecided pieces
	follow    *follow           // gives the tag in a moment; nil: none does
	problem   error             // index.json can't be read; nil: it can
	attended  bool              // a goroutine waits for the directory to be quiet
	told      map[string]string // what was last told of a target that waits
}

// pieces are digests that are missing, each with what it is.
type pieces map[digest.Digest]string

// String names the first of them.
func (ps pieces) String() string {
	const most = 5
	all := slices.Sorted(maps.Values(ps))
	text := strings.Join(all[:min(len(all), most)], ", ")
	if len(all) > most {
		text += fmt.Sprintf(" and %d more", len(all)-most)
	}
	return text
}

func newLayout() layout {
	return layout{turn: newTurn(), entries: map[string]*entry{}, told: map[string]string{}}
}

// commitIndex pushes what is new in an index.json. One that can't be read isn't
// complete: that is told when nothing more comes.
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
	top := r.list(d, index.Manifests, err)
	if err != nil {
		return false, nil
	}
	if top {
		return true, r.pushListed(ctx, d)
	}
	return true, r.pushImage(ctx, d, "")
}

// list takes over what an index.json lists now, or that it can't be read.
func (r *Root) list(d *Dir, ds []v1.Descriptor, problem error) (top bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	top = d == r.top
	d.layout.problem = problem
	if problem == nil {
		d.layout.listed = readEntries(ds, top)
		d.layout.versions++
	}
	return top
}

// pushListed pushes what the index.json of upload/ itself lists.
func (r *Root) pushListed(ctx context.Context, d *Dir) error {
	r.mu.Lock()
	es := eachOnce(d.layout.listed)
	r.mu.Unlock()
	return r.pushAll(ctx, r.merge(d, es), "")
}

// merge takes over the entries that an index has now, and gives those that are to
// be pushed: they are new, or point elsewhere, or weren't pushed yet.
func (r *Root) merge(d *Dir, entries []*entry) (todo []*entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := make(map[string]*entry, len(entries))
	for _, e := range entries {
		if old := d.layout.entries[e.target]; old != nil && old.desc.Digest == e.desc.Digest && old.tag == e.tag && old.err == nil && e.err == nil {
			e = old
		}
		now[e.target] = e
		if !e.pushed {
			todo = append(todo, e)
		}
	}
	for target, old := range d.layout.entries {
		if now[target] == nil && !old.pushed {
			r.area.records.forget(r.repo, target, Waiting)
		}
	}
	d.layout.entries = now
	return todo
}

// pushAll pushes entries. arrived is the piece that they waited for, or "". One that
// fails doesn't keep the others from being pushed.
func (r *Root) pushAll(ctx context.Context, todo []*entry, arrived digest.Digest) error {
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
		errs = append(errs, r.pushEntries(ctx, es, arrived))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// arrived pushes the entries that waited for d alone, and gives what came of that.
func (r *Root) arrived(ctx context.Context, d digest.Digest) error {
	var errs []error
	for _, dir := range r.layouts() {
		errs = append(errs, r.arrivedIn(ctx, dir, d))
	}
	return errors.Join(errs...)
}

func (r *Root) arrivedIn(ctx context.Context, dir *Dir, d digest.Digest) error {
	if !r.waitsFor(dir, d) {
		return nil
	}
	if err := dir.layout.turn.take(ctx); err != nil {
		return err
	}
	defer dir.layout.turn.give()
	waiting, decides, top := r.waiting(dir, d)
	if len(waiting) == 0 && !decides {
		return nil
	}
	var err error
	if top {
		err = r.pushAll(ctx, waiting, d)
	} else {
		err = r.pushImage(ctx, dir, d)
	}
	if ctx.Err() == nil {
		r.resettle(dir, err)
	}
	return err
}

// waiting gives the entries of a layout that wait for d, and whether d decides which
// one is the image.
func (r *Root) waiting(dir *Dir, d digest.Digest) (todo []*entry, decides, top bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range dir.layout.entries {
		if _, ok := e.missing[d]; ok {
			todo = append(todo, e)
		}
	}
	_, decides = dir.layout.undecided[d]
	return todo, decides, dir == r.top
}

// resettle makes what came of an index that waited the result of its file.
func (r *Root) resettle(dir *Dir, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := dir.children[indexName].(*File); ok {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.settled == f.changes {
			f.result = err
		}
	}
}

// waitsFor says whether an entry of a layout waits for d, or may, as entries are
// being pushed.
func (r *Root) waitsFor(dir *Dir, d digest.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := dir.layout.undecided[d]; ok {
		return true
	}
	for _, e := range dir.layout.entries {
		_, missing := e.missing[d]
		if !e.pushed && (len(dir.layout.turn) > 0 || missing) {
			return true
		}
	}
	return false
}

// layouts are the directories that can be layouts.
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

// forget makes what a tag or a digest stands for new again.
func (r *Root) forget(target string) {
	r.lost(digest.Digest(target))
	for _, d := range r.layouts() {
		r.forgetIn(d, target)
	}
}

func (r *Root) forgetIn(d *Dir, target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, e := range d.layout.entries {
		if key == target || e.desc.Digest.String() == target {
			delete(d.layout.entries, key)
		}
	}
}

// unlist forgets what a layout was to be pushed as, as its index.json is gone. Root.mu
// is held.
func (d *Dir) unlist() {
	for target, e := range d.layout.entries {
		if !e.pushed {
			d.root.area.records.forget(d.root.repo, target, Waiting)
			delete(d.layout.entries, target)
		}
	}
	d.root.area.records.forget(d.root.repo, d.name, Waiting)
	d.layout.listed, d.layout.undecided, d.layout.problem = nil, nil, nil
	d.root.giveUp(d.layout.follow)
	d.layout.follow = nil
}
