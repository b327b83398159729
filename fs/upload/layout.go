package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// layout is what is known of a layout's index.
type layout struct {
	turn turn // to push entries
	// entries are those that the index had last, by what they are pushed as. Guarded by
	// Root.mu; written by who holds turn.
	entries map[string]*entry
}

// entry is one descriptor of an index.
type entry struct {
	target  string // tag or digest
	tag     string // "" for a digest
	desc    v1.Descriptor
	pushed  bool
	missing map[digest.Digest]bool // what it waits for
}

func newLayout() layout {
	return layout{turn: newTurn(), entries: map[string]*entry{}}
}

// commitIndex pushes what is new in an index. What can't be parsed isn't complete.
func (r *Root) commitIndex(ctx context.Context, f *File, d *Dir) (bool, error) {
	raw, err := f.readAll(ctx, registry.MaxManifest)
	if err != nil {
		return true, err
	}
	var parsed v1.Index
	if json.Unmarshal(raw, &parsed) != nil {
		return false, nil
	}
	r.mu.Lock()
	top := d == r.top
	name := d.name
	r.mu.Unlock()
	entries, err := readEntries(parsed.Manifests, top, name)
	if err != nil {
		return true, err
	}
	if err := d.layout.turn.take(ctx); err != nil {
		return true, err
	}
	defer d.layout.turn.give()
	todo := r.merge(d, entries)
	var errs []error
	for _, es := range byDigest(todo) {
		errs = append(errs, r.pushEntries(ctx, es, ""))
		if ctx.Err() != nil {
			break
		}
	}
	return true, errors.Join(errs...)
}

// merge takes over the entries that an index has now, and gives those that are to
// be pushed: they are new, or point elsewhere, or weren't pushed yet.
func (r *Root) merge(d *Dir, entries []*entry) (todo []*entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := make(map[string]*entry, len(entries))
	for _, e := range entries {
		if old := d.layout.entries[e.target]; old != nil && old.desc.Digest == e.desc.Digest {
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

// readEntries reads the descriptors of an index: by tag in upload/ itself, where a
// tag that comes twice means the last, and by the directory's name elsewhere, where
// the last descriptor is the image.
func readEntries(ds []v1.Descriptor, top bool, name string) ([]*entry, error) {
	if !top && len(ds) > 1 {
		ds = ds[len(ds)-1:]
	}
	var es []*entry
	at := map[string]int{}
	for _, d := range ds {
		if _, err := ref.ParseDigest(d.Digest.String()); err != nil || d.Size < 0 {
			return nil, fmt.Errorf("%w: index.json has a malformed descriptor of %q", ErrNoManifest, d.Digest)
		}
		tag := name
		if top {
			var err error
			if tag, err = tagOf(d.Annotations[v1.AnnotationRefName]); err != nil {
				return nil, err
			}
		}
		e := &entry{target: tag, tag: tag, desc: d}
		if tag == "" {
			e.target = d.Digest.String()
		}
		if i, twice := at[e.target]; twice {
			es[i] = e
			continue
		}
		at[e.target] = len(es)
		es = append(es, e)
	}
	return es, nil
}

// tagOf is the tag that a ref.name means: itself, or that of a full reference; ""
// for none.
func tagOf(name string) (string, error) {
	if name == "" || ref.ValidTag(name) {
		return name, nil
	}
	rest, _, hasDigest := strings.Cut(name, "@")
	last := rest[strings.LastIndexByte(rest, '/')+1:]
	_, tag, ok := strings.Cut(last, ":")
	switch {
	case ok && ref.ValidTag(tag):
		return tag, nil
	case !ok && (hasDigest || strings.Contains(rest, "/")):
		return "", nil
	}
	return "", fmt.Errorf("%w: %q, the name of an image in index.json, is no tag", ref.ErrInvalid, name)
}

// byDigest groups entries of one digest, in the order in which they came.
func byDigest(es []*entry) [][]*entry {
	var groups [][]*entry
	at := map[digest.Digest]int{}
	for _, e := range es {
		i, ok := at[e.desc.Digest]
		if !ok {
			i = len(groups)
			at[e.desc.Digest] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], e)
	}
	return groups
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
	r.mu.Lock()
	var todo []*entry
	for _, e := range dir.layout.entries {
		if e.missing[d] {
			todo = append(todo, e)
		}
	}
	r.mu.Unlock()
	var errs []error
	for _, es := range byDigest(todo) {
		errs = append(errs, r.pushEntries(ctx, es, d))
	}
	err := errors.Join(errs...)
	if len(todo) > 0 && ctx.Err() == nil {
		r.resettle(dir, err)
	}
	return err
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
	for _, e := range dir.layout.entries {
		if !e.pushed && (len(dir.layout.turn) > 0 || e.missing[d]) {
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
		r.mu.Lock()
		for key, e := range d.layout.entries {
			if key == target || e.desc.Digest.String() == target {
				delete(d.layout.entries, key)
			}
		}
		r.mu.Unlock()
	}
}
