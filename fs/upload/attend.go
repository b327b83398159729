package upload

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Attending is how a person hears of an image that isn't pushed although its program ended
// without an error: the program saved half an image, or the blobs are elsewhere. No errno can
// report that. So the area looks at each directory that can be an image when nothing has come
// for attendAfter, and when the mount ends, and reports what waits there.

// touch notes activity in a directory by an unknown program, which counts as the last known
// one. Root.mu is held.
func (r *Root) touch(d *Dir) {
	within := d.layoutDir()
	within.layout.activity.note()
	r.attend(within)
}

// touchBy notes activity in a directory by a program (nil: not known). Root.mu is held.
func (r *Root) touchBy(d *Dir, by Program) {
	within := d.layoutDir()
	within.layout.activity.noteBy(by)
	r.attend(within)
}

// attend starts a goroutine, unless there is one, that waits until the layout directory
// within has been quiet for attendAfter and then reports what waits in it. Root.mu is held.
func (r *Root) attend(within *Dir) {
	if within.layout.attended {
		return
	}
	a := r.area
	leave, err := a.enter()
	if err != nil {
		return
	}
	within.layout.attended = true
	after := a.attendAfter
	go func() {
		defer leave()
		a.caught(func() { a.poll(nil, func() bool { return within.layout.activity.quiet(after) }) })
		r.endAttending(within) // later activity starts a new wait
		a.caught(func() { r.reportWaiting(a.ctx, within) })
	}()
}

// endAttending notes that no goroutine waits any more for a directory to be quiet.
func (r *Root) endAttending(d *Dir) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d.layout.attended = false
}

// touchFile calls touch for the directory of a file.
func (r *Root) touchFile(f *File) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.parent != nil {
		r.touch(f.parent)
	}
}

// touchFileBy calls touchBy for the directory of a file.
func (r *Root) touchFileBy(f *File, by Program) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.parent != nil {
		r.touchBy(f.parent, by)
	}
}

// layoutDir gives the directory of the layout that d belongs to: a directory in upload/, or
// upload/ itself. For a removed directory it gives d. Root.mu is held.
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

// reportWaiting reports the targets of a directory that wait. It reports each reason once.
func (r *Root) reportWaiting(ctx context.Context, d *Dir) {
	at, reasons, unnamed := r.unreported(d)
	told := false
	defer func() {
		if !told { // a panic came first, so that the next look reports everything
			r.reportAnew(d)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, checkFor)
	defer cancel()
	for _, dgst := range unnamed {
		if _, err := r.area.o.Tree.Manifest(ctx, r.repo, dgst); err == nil {
			r.manifestPushed(dgst) // the registry had it before
			delete(reasons, dgst.String())
		}
	}
	for _, target := range slices.Sorted(maps.Keys(reasons)) {
		r.area.records.set(r.repo, target, Waiting, reasons[target].Error())
		r.failed(at, fmt.Errorf("%s isn't pushed: %w", target, reasons[target]))
	}
	told = true
}

// reportAnew makes the next look report everything that waits in a directory.
func (r *Root) reportAnew(d *Dir) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(d.layout.reported)
}

// unreported gives the reasons why targets of a directory wait, except those that were
// reported before. at is the path of the directory below upload/. unnamed are the targets
// that are manifests which no index names.
func (r *Root) unreported(d *Dir) (at string, reasons map[string]error, unnamed []digest.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reasons = map[string]error{}
	if d.parent == nil && d != r.top {
		return "", reasons, nil // removed
	}
	all, unnamed := d.unfinished()
	reported := map[string]string{}
	for target, reason := range all {
		reported[target] = reason.Error()
		if d.layout.reported[target] != reported[target] {
			reasons[target] = reason
		}
	}
	for target := range d.layout.reported {
		if reported[target] == "" { // the target doesn't wait any more
			r.area.records.drop(r.repo, target, Waiting)
		}
	}
	d.layout.reported = reported
	return d.name, reasons, unnamed
}

// incomplete makes the reason why a target isn't pushed, an ErrIncomplete.
func incomplete(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrIncomplete, fmt.Sprintf(format, args...))
}

// unfinished gives, by target, the reasons why targets of a directory wait. unnamed are the
// targets that are manifests which no index names. Root.mu is held.
func (d *Dir) unfinished() (waits map[string]error, unnamed []digest.Digest) {
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
		waits[name] = incomplete("its directory has a name that programs give to a copy which isn't whole yet: rename it to the tag that it is to have")
		return waits, nil
	case d.layout.problem != nil:
		waits[name] = d.layout.problem
	case index == nil && d != d.root.top && d.looksLikeAnImage():
		waits[name] = incomplete("there is no index.json, and an image is an OCI image layout (an archive of docker save before version 25 is made one by skopeo copy docker-archive:FILE oci:DIR:TAG)")
	case isLink && d.root.leadsTo(link) == nil:
		waits[name] = incomplete("index.json is a symlink that leads to no file")
	}
	if f, ok := index.(*File); ok && d != d.root.top && d.layout.problem == nil && len(d.layout.listed) == 0 && f.hasResult() && d.looksLikeAnImage() {
		waits[name] = incomplete("its index.json lists no image: give the program that wrote it a name for one, or copy a manifest to upload/manifests/<tag>")
	}
	if d.layout.imageless {
		waits[d.name] = incomplete("none of the entries of its index.json is an image: signatures and fallback tags stand beside one")
	}
	if len(d.layout.undecided) > 0 {
		waits[d.name] = incomplete("%s", d.layout.undecided.reason())
	}
	pushed, decides := true, d.layout.undecided.reason()
	for target, e := range d.layout.entries {
		pushed = pushed && e.pushed
		if len(e.missing) == 0 {
			continue
		}
		// A missing manifest that decides which entry is the image is reported once,
		// for the tag.
		if text := e.missing.reason(); target == d.name || text != decides {
			waits[target] = incomplete("%s", text)
		}
	}
	if pushed && len(waits) == 0 {
		unnamed = d.unnamed()
		for _, dgst := range unnamed {
			waits[dgst.String()] = incomplete("it is a manifest, and no index.json names it: to push it alone, copy it to upload/manifests/<tag>")
		}
	}
	d.mismatched(waits)
	d.stray(waits)
	return waits, unnamed
}

// looksLikeAnImage says whether a directory has a file or directory of an image directory, of
// a layout, or of an archive of docker save. Root.mu is held.
func (d *Dir) looksLikeAnImage() bool {
	for _, name := range []string{blobsName, layoutName, imageManifestName, "repositories"} {
		if d.children[name] != nil {
			return true
		}
	}
	return false
}

// stray adds to waits what stands where nothing is pushed from: images in directories of
// images, files whose place is neither that of a blob nor of a manifest, and files that their
// programs didn't close. Root.mu is held.
func (d *Dir) stray(waits map[string]error) {
	within := []*Dir{d}
	for _, name := range []string{blobsName, manifestsName} {
		if sub, ok := d.children[name].(*Dir); ok {
			within = append(within, sub)
		}
	}
	for _, in := range within {
		for name, n := range in.children {
			at := path.Join(in.below(), name)
			switch n := n.(type) {
			case *Dir:
				nested := in != d.root.top && name != blobsName && (n.children[indexName] != nil || n.children[layoutName] != nil)
				if nested {
					waits[at] = incomplete("it is an image in another directory: copy it to upload/<tag>")
				}
			case *File:
				kind := roleAt(in, name).kind
				switch cut := n.isCutOff(); {
				case kind == index && d.layout.problem != nil:
				case cut && kind != onlyStaged:
					waits[at] = incomplete(cutOff)
				case cut && in == d.root.top && !besides(name) && d.root.linkedRole(n).kind == onlyStaged:
					waits[at] = incomplete("no file is pushed from here: put a blob into upload/blobs/ and a manifest into upload/manifests/, and unpack an archive into upload/<tag>/")
				}
			}
		}
	}
}

// cutOff is the reason for a file whose program was killed before it closed the file.
const cutOff = "the program that wrote it ended before its close was through: write it once more"

// besides says whether a file stands next to the pushed ones by its name: it belongs to a
// layout, or programs write it temporarily.
func besides(name string) bool {
	switch name {
	case layoutName, imageManifestName, "digest", "repositories":
		return true
	}
	return temporary(name) || strings.HasPrefix(name, "oci-put-blob") || strings.HasSuffix(name, ".lock") || strings.HasPrefix(name, indexName)
}

// hasResult says whether the last push was of the bytes that the file has now.
func (f *File) hasResult() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.resultOf == f.changes
}

// isCutOff says whether the file has bytes, but no writer and no finished push. One of which a write
// failed is recorded at its close.
func (f *File) isCutOff() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.writers == 0 && f.size > 0 && !f.pushed && f.broken == nil && f.resultOf != f.changes
}

// unnamed gives the manifests in blobs/ that no index names yet. Root.mu is held.
func (d *Dir) unnamed() (all []digest.Digest) {
	for want, f := range d.digests {
		if got, manifest := f.idle(); manifest && got == want {
			all = append(all, want)
		}
	}
	return all
}

// mismatched adds to waits the files in blobs/ whose bytes don't match their names. Root.mu
// is held.
func (d *Dir) mismatched(waits map[string]error) {
	for want, f := range d.digests {
		switch got, _ := f.idle(); {
		case got != "" && got != want:
			waits[want.String()] = incomplete("the bytes in its file have the digest %s: write it once more", got)
		case got == "" && f.isCutOff():
			waits[want.String()] = incomplete(cutOff)
		}
	}
}

// digests iterates over the files in blobs/ whose names are digests. Root.mu is held.
func (d *Dir) digests(yield func(digest.Digest, *File) bool) {
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
			if want := roleAt(algo, f.name).digest; want != "" && !yield(want, f) {
				return
			}
		}
	}
}

// idle gives the digest of a file that isn't pushed and has no writer. "" means that the
// digest isn't known, or that the file is pushed or has a writer. manifest says that the file
// is a manifest that waits for an index to name it.
func (f *File) idle() (got digest.Digest, manifest bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writers > 0 || f.pushed {
		return "", false
	}
	return f.known(), f.manifest && f.resultOf == f.changes
}
