package upload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
)

// commit pushes a file by its role if it has changed since the last push. Otherwise it
// returns the result of the last push again.
func (r *Root) commit(ctx context.Context, f *File) error { return r.commitBy(ctx, f, r.push) }

// commitEmpty commits a file that has no bytes and no writer. Such a file is complete,
// because nobody can write to it any more.
func (r *Root) commitEmpty(ctx context.Context, f *File) error {
	return r.commitBy(ctx, f, func(ctx context.Context, f *File) (bool, error) {
		if r.roleOf(f).kind != namedBlob {
			return false, nil
		}
		return true, r.commitNamed(ctx, f)
	})
}

// commitBy is the common part of commit and commitEmpty. push pushes the file, and says
// whether the file is complete. The result of an incomplete file isn't kept.
func (r *Root) commitBy(ctx context.Context, f *File, push func(context.Context, *File) (complete bool, err error)) error {
	if r.roleOf(f).kind == onlyStaged {
		return nil
	}
	leave, err := r.area.enter()
	if err != nil {
		return err
	}
	defer leave()
	if d := r.dirOf(f); d != nil {
		defer r.busy(d)()
	}
	ctx, cancel := r.area.under(ctx)
	defer cancel()
	if err := f.committing.take(ctx); err != nil {
		return err
	}
	defer f.committing.give()
	if size, err := f.failedWrite(); err != nil {
		r.recordBroken(f, size, err)
		return err
	}
	changes, known, err := f.lastResult()
	if known {
		return err
	}
	complete, err := push(ctx, f)
	if errors.Is(err, errChanged) {
		complete, err = false, nil // another program wrote to it, and its close pushes
	}
	if ctx.Err() != nil && err != nil { // interrupted, which says nothing about the next try
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	if complete {
		f.keepResult(changes, err)
	}
	if !f.isWritten() {
		r.adopt(f)
	}
	return err
}

// failedWrite gives the error of a failed write, and how many bytes the file has; nil: none failed.
func (f *File) failedWrite() (size int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.size, f.broken
}

// recordBroken records that a write of a file failed: under its digest or its tag, else under its name.
func (r *Root) recordBroken(f *File, size int64, err error) {
	role := r.roleOf(f)
	target := cmp.Or(role.digest.String(), role.tag, r.nameOf(f))
	r.area.records.setBroken(r.repo, target, fmt.Sprintf("a write failed when it had %d bytes, and nothing of it is pushed or kept: %v", size, err))
}

// nameOf gives the name of a file.
func (r *Root) nameOf(f *File) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f.name
}

// lastResult gives the result of the last push. known is true if the file hasn't changed since.
// changes counts the changes of the file up to now.
func (f *File) lastResult() (changes int, known bool, result error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes, f.resultOf == f.changes, f.result
}

// keepResult keeps the result of a push. changes counts the changes that the file had when it
// was pushed. If it has more by now, the result isn't kept.
func (f *File) keepResult(changes int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes == changes {
		f.resultOf, f.result = changes, err
	}
}

// push pushes a file by its role. complete says that the file is complete. A file without
// bytes isn't: a shell flushes before it writes the first byte.
func (r *Root) push(ctx context.Context, f *File) (complete bool, err error) {
	role := r.roleOf(f)
	switch role.kind {
	case blob:
		return r.commitBlob(ctx, f, role)
	case namedBlob:
		if size, _ := f.extent(); size == 0 {
			return false, nil
		}
		return true, r.commitNamed(ctx, f)
	case manifest:
		return r.commitManifest(ctx, f, role)
	case index:
		return r.commitIndex(ctx, f, role.layout)
	}
	return true, nil
}

// commitBlob pushes a file that is named by its digest, if its bytes have that digest. A
// manifest isn't pushed here: it is pushed with the index that names it.
func (r *Root) commitBlob(ctx context.Context, f *File, role role) (bool, error) {
	got, err := f.digestOf(ctx, role.digest.Algorithm())
	if err != nil {
		return true, err
	}
	if got != role.digest {
		return false, nil
	}
	r.stageAt(got, f)
	if !r.keepManifest(ctx, f, got) {
		if err := r.pushBlob(ctx, f, got); err != nil {
			return true, err
		}
	}
	return true, r.arrived(ctx, got)
}

// keepManifest says whether the bytes of a file are a manifest, and marks the file as one.
func (r *Root) keepManifest(ctx context.Context, f *File, d digest.Digest) bool {
	_, from, size := f.bytesOn()
	if from.Digest != "" || size > registry.MaxManifest || size < 2 {
		return false // a copied blob has no bytes here, but a copied manifest has
	}
	raw, err := f.readAll(ctx, registry.MaxManifest)
	if err != nil {
		return false
	}
	if _, err := registry.ParseManifest(raw, "", d); err != nil {
		return false
	}
	f.isManifest()
	return true
}

// isManifest notes that the bytes are those of a manifest.
func (f *File) isManifest() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.manifest = true
}

// precheck refuses a name that the bytes of a file don't match.
func (r *Root) precheck(ctx context.Context, f *File, role role) error {
	switch role.kind {
	case blob:
		got, err := f.digestOf(ctx, role.digest.Algorithm())
		if err == nil && got != role.digest {
			err = fmt.Errorf("%w: it is named %s, and its bytes are %s", ErrMismatch, role.digest, got)
		}
		return err
	case manifest:
		_, err := r.parse(ctx, f, role.digest)
		return err
	}
	return nil
}

// parse reads a file as the manifest d. If d is "", any manifest will do.
func (r *Root) parse(ctx context.Context, f *File, d digest.Digest) (*registry.Manifest, error) {
	raw, err := f.readAll(ctx, registry.MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := registry.ParseManifest(raw, "", d)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoManifest, unkind(err))
	}
	return m, nil
}

// unkind removes the error kinds of package registry. They describe a registry's answer, but
// here a person's file is wrong.
func unkind(err error) error { return errors.New(err.Error()) }

// commitNamed pushes a blob with a name of its own. The name is then shown as a symlink to
// the blob's digest.
func (r *Root) commitNamed(ctx context.Context, f *File) error {
	d, err := f.digestOf(ctx, digest.Canonical)
	if err != nil {
		return err
	}
	if err := r.pushBlob(ctx, f, d); err != nil {
		return err
	}
	r.area.records.drop(r.repo, r.nameOf(f), Failed) // of a write that failed before it was written anew
	return r.arrived(ctx, d)
}

// commitManifest pushes a manifest under the tag or the digest in its name. A file without
// bytes isn't complete: a shell flushes before it writes the first byte.
func (r *Root) commitManifest(ctx context.Context, f *File, role role) (bool, error) {
	if size, _ := f.extent(); size == 0 {
		return false, nil
	}
	changes := f.version()
	m, err := r.parse(ctx, f, role.digest)
	if err == nil && role.tag != "" && passingName(role.tag, f.made) {
		r.deferManifest(f, role)
		return true, nil
	}
	return true, r.pushParsed(ctx, f, role, m, changes, err)
}

// pushParsed pushes a manifest that was read from a file. If reading it failed with err, it
// records err. changes counts the changes that the file had when it was read.
func (r *Root) pushParsed(ctx context.Context, f *File, role role, m *registry.Manifest, changes int, err error) error {
	target := role.tag
	if target == "" {
		target = role.digest.String()
	}
	if err == nil {
		err = r.pushNamedManifest(ctx, m, role.tag)
	}
	r.area.record(r.repo, target, err)
	if err != nil {
		return err
	}
	f.notePushed(changes)
	return r.arrived(ctx, m.Digest)
}

// version gives the number of changes of a file.
func (f *File) version() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

// notePushed notes that the file is pushed as a manifest. changes counts the changes that it
// had when it was read. If it has more by now, nothing is noted.
func (f *File) notePushed(changes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes == changes {
		f.pushed, f.manifest = true, true
	}
}

// deferManifest defers the push of a manifest whose name programs give to a file before they
// rename it.
func (r *Root) deferManifest(f *File, role role) {
	if p := r.startDeferredManifest(f, role); p != nil {
		<-p.told
	}
}

// startDeferredManifest starts the deferred push of a manifest. It gives nil if that push is
// pending already, or the file is removed.
func (r *Root) startDeferredManifest(f *File, role role) *deferredPush {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.closes.note()
	if f.parent == nil {
		return nil
	}
	r.area.records.set(r.repo, role.tag, Pushing, "its name is one that programs rename: it is pushed if that doesn't happen within a second")
	if f.deferred.pending() {
		return nil
	}
	due := func(while time.Duration) bool { return f.closes.quiet(while) && !f.isWritten() }
	f.deferred = r.deferPush(role.tag, manifestsName+"/"+role.tag, due, func(ctx context.Context) error {
		changes := f.version()
		m, err := r.parse(ctx, f, "")
		err = r.pushParsed(ctx, f, role, m, changes, err)
		f.keepResult(changes, err)
		return err
	})
	return f.deferred
}

// commitAll commits the files of a directory that was moved. The index.json files come last.
func (r *Root) commitAll(ctx context.Context, d *Dir) error {
	dirs, others, indexes := r.movedWith(d)
	var errs []error
	for _, n := range dirs {
		errs = append(errs, r.commitAll(ctx, n))
	}
	for _, f := range append(others, indexes...) {
		errs = append(errs, r.commit(ctx, f))
	}
	return errors.Join(errs...)
}

// movedWith gives what is in a directory that was moved: directories, index.json files and
// other files.
func (r *Root) movedWith(d *Dir) (dirs []*Dir, others, indexes []*File) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range d.children {
		switch n := n.(type) {
		case *Dir:
			dirs = append(dirs, n)
		case *File:
			n.anew()
			if roleAt(d, n.name).kind == index {
				indexes = append(indexes, n)
			} else {
				others = append(others, n)
			}
		}
	}
	return dirs, others, indexes
}
