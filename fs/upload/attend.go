package upload

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Programs end well though nothing was pushed: half an image was saved, or its blobs are
// elsewhere. Nobody hears of that by an errno. So each directory that can be an image is
// looked at once nothing has come for Area.attendAfter, and when the mount ends, and
// what waits there is told, each thing once.

// touch notes that a program does something in a directory. by is nil where it is the
// program before. Root.mu is held.
func (r *Root) touch(d *Dir, by Program) {
	within := d.layoutDir()
	within.layout.activity.note(by)
	if within.layout.attended {
		return
	}
	leave, err := r.area.enter()
	if err != nil {
		return
	}
	within.layout.attended = true
	after := r.area.attendAfter
	go func() {
		defer leave()
		r.area.await(nil, func() bool { return within.layout.activity.quiet(after) })
		_ = r.guarded(func(context.Context) error { r.tellWaiting(within); return nil })
	}()
}

// touchFile is touch for a file.
func (r *Root) touchFile(f *File, by Program) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.parent != nil {
		r.touch(f.parent, by)
	}
}

// layoutDir gives the directory of a layout that d is or stands in: one in upload/, or
// upload/ itself. Root.mu is held.
func (d *Dir) layoutDir() *Dir {
	for p := d; p.parent != nil; p = p.parent {
		if p.parent == d.root.top && p.name != blobsName && p.name != manifestsName {
			return p
		}
	}
	if d.parent == nil {
		return d // upload/ itself, or a directory that was removed
	}
	return d.root.top
}

// tellWaiting tells what of a directory waits and for what.
func (r *Root) tellWaiting(d *Dir) {
	at, waits, kept := r.waits(d)
	for _, dgst := range kept {
		if _, err := r.area.o.Tree.Manifest(r.area.ctx, r.repo, dgst); err == nil {
			r.done(dgst) // the registry had it before
			delete(waits, dgst.String())
		}
	}
	for _, target := range slices.Sorted(maps.Keys(waits)) {
		r.area.records.set(r.repo, target, Waiting, waits[target].Error())
		r.failed(at, fmt.Errorf("%s isn't pushed: %w", target, waits[target]))
	}
}

// waits gives what of a directory waits and hasn't been told, by target, with the
// reason. kept are those of it that are manifests which no index names.
func (r *Root) waits(d *Dir) (at string, untold map[string]error, kept []digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.layout.attended = false
	untold = map[string]error{}
	if d.parent == nil && d != r.top {
		return "", untold, nil // removed
	}
	waits, kept := d.unfinished()
	told := map[string]string{}
	for target, reason := range waits {
		told[target] = reason.Error()
		if d.layout.told[target] != told[target] {
			untold[target] = reason
		}
	}
	d.layout.told = told
	return d.name, untold, kept
}

// incomplete is the reason why something isn't pushed.
func incomplete(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrIncomplete, fmt.Sprintf(format, args...))
}

// unfinished gives what of a directory isn't pushed and waits for something, by target,
// with the reason. kept are those of it that are manifests which no index names. Root.mu
// is held.
func (d *Dir) unfinished() (waits map[string]error, kept []digest.Digest) {
	waits = map[string]error{}
	index := d.children[indexName]
	name := d.name
	if d == d.root.top {
		name = indexName
	}
	link, isLink := index.(*Symlink)
	switch {
	case !d.isLayout() && index == nil:
		return nil, nil
	case !d.isLayout():
		waits[name] = incomplete("the name of its directory is one of those that programs give to what isn't whole yet: rename it to the tag that it is to have")
		return waits, nil
	case d.layout.problem != nil:
		waits[name] = d.layout.problem
	case index == nil && d != d.root.top && d.hasFiles():
		waits[name] = incomplete("there is no index.json, and an image is an OCI image layout (an archive of docker save before version 25 is made one by skopeo copy docker-archive:FILE oci:DIR:TAG)")
	case isLink && d.root.leadsTo(link) == nil:
		waits[name] = incomplete("index.json is a symlink that leads to no file")
	}
	if len(d.layout.undecided) > 0 {
		waits[d.name] = incomplete("%s", waitsFor(d.layout.undecided))
	}
	pushed, decides := true, waitsFor(d.layout.undecided)
	for target, e := range d.layout.entries {
		pushed = pushed && e.pushed
		if len(e.missing) == 0 {
			continue
		}
		// A piece that decides which entry is the image is told once, for the tag.
		if text := waitsFor(e.missing); target == d.name || text != decides {
			waits[target] = incomplete("%s", text)
		}
	}
	if pushed && len(waits) == 0 {
		for _, dgst := range d.kept() {
			kept = append(kept, dgst)
			waits[dgst.String()] = incomplete("it is a manifest, and no index.json names it: to push it alone, copy it to upload/manifests/<tag>")
		}
	}
	d.mismatched(waits)
	return waits, kept
}

// hasFiles says whether there is any file in a directory or below. Root.mu is held.
func (d *Dir) hasFiles() bool {
	for _, n := range d.children {
		sub, isDir := n.(*Dir)
		if !isDir || sub.hasFiles() {
			return true
		}
	}
	return false
}

// kept gives the manifests in blobs/ that wait for an index to name them. Root.mu is
// held.
func (d *Dir) kept() (all []digest.Digest) {
	for want, f := range d.digests {
		if got, manifest := f.idle(); manifest && got == want {
			all = append(all, want)
		}
	}
	return all
}

// mismatched adds the files in blobs/ that have other bytes than their names say.
// Root.mu is held.
func (d *Dir) mismatched(waits map[string]error) {
	for want, f := range d.digests {
		if got, _ := f.idle(); got != "" && got != want {
			waits[want.String()] = incomplete("the bytes in its file have the digest %s: write it once more", got)
		}
	}
}

// digests calls each with the files in blobs/ that have a digest for a name. Root.mu is
// held.
func (d *Dir) digests(each func(digest.Digest, *File) bool) {
	blobs, _ := d.children[blobsName].(*Dir)
	if blobs == nil {
		return
	}
	for _, n := range blobs.children {
		algo, ok := n.(*Dir)
		if !ok {
			continue
		}
		for _, n := range algo.children {
			f, ok := n.(*File)
			if !ok {
				continue
			}
			if want := roleAt(algo, f.name).digest; want != "" && !each(want, f) {
				return
			}
		}
	}
}

// idle gives the digest of a file that nobody writes and that isn't pushed, and whether
// it is a manifest that is kept for an index; "" where it isn't known.
func (f *File) idle() (got digest.Digest, manifest bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writers > 0 || f.pushed {
		return "", false
	}
	return f.known(), f.manifest && f.settled == f.changes
}
