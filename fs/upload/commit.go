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

// commit pushes a file by its role, if it changed since the last time. Else the result of
// that time is given again.
func (r *Root) commit(ctx context.Context, f *File) error { return r.commitBy(ctx, f, r.push) }

// commitEmpty is commit of a file without a byte that no program can write any more: it is
// complete.
func (r *Root) commitEmpty(ctx context.Context, f *File) error {
	return r.commitBy(ctx, f, func(ctx context.Context, f *File) (bool, error) {
		if r.roleOf(f).kind != namedBlob {
			return false, nil
		}
		return true, r.commitNamed(ctx, f)
	})
}

// commitBy is commit. push pushes the file, and says whether the file is complete.
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
	changes, known, err := f.lastResult()
	if known {
		return err
	}
	complete, err := push(ctx, f)
	if errors.Is(err, errChanged) {
		complete, err = false, nil // whoever wrote it meanwhile closes it as well
	}
	if ctx.Err() != nil && err != nil { // given up: that says nothing about the next time
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

// lastResult gives the result of the last push. known is false if the file changed since.
// changes is how many changes it had until now.
func (f *File) lastResult() (changes int, known bool, result error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes, f.resultOf == f.changes || f.broken != nil, cmp.Or(f.broken, f.result)
}

// keepResult keeps the result of a push of the bytes that the file had after so many changes.
func (f *File) keepResult(changes int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes == changes {
		f.resultOf, f.result = changes, err
	}
}

// push pushes a file by its role, and says whether it is complete. A file without a byte
// isn't: a shell flushes before the first byte.
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

// commitBlob pushes a file that has a digest for a name, if its bytes have that
// digest. A manifest is kept: it is pushed with the index that names it.
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

// keepManifest says whether a file is a manifest, as far as can be told from its
// bytes.
func (r *Root) keepManifest(ctx context.Context, f *File, d digest.Digest) bool {
	_, from, size := f.bytesOn()
	if from.Digest != "" || size > registry.MaxManifest || size < 2 {
		return false // a copy of a manifest is made of its bytes, one of a blob isn't
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

// isManifest notes that the bytes are a manifest's.
func (f *File) isManifest() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.manifest = true
}

// precheck refuses to give a file a name that it can't have.
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

// parse reads a file as the manifest d, or as any where d is "".
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

// unkind is an error without the kind that it has where a registry's answer is
// parsed: what is wrong here is a person's file.
func unkind(err error) error { return errors.New(err.Error()) }

// commitNamed pushes a blob that was written under a name of its own. That name is
// then shown as a symlink to its digest.
func (r *Root) commitNamed(ctx context.Context, f *File) error {
	d, err := f.digestOf(ctx, digest.Canonical)
	if err != nil {
		return err
	}
	if err := r.pushBlob(ctx, f, d); err != nil {
		return err
	}
	return r.arrived(ctx, d)
}

// commitManifest pushes a manifest under the tag or the digest that its name says. A file
// without a byte isn't complete: a shell flushes before the first byte.
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

// pushParsed pushes a manifest that was read from a file, or records the error of reading it.
// changes is how many the file had when it was read.
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

// version counts the changes of a file.
func (f *File) version() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes
}

// notePushed notes that the file was pushed as a manifest, if nothing changed since it had
// so many changes.
func (f *File) notePushed(changes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.changes == changes {
		f.pushed, f.manifest = true, true
	}
}

// deferManifest defers the push of a manifest whose name looks as if it were to be renamed.
func (r *Root) deferManifest(f *File, role role) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.closes.note()
	if f.parent == nil {
		return
	}
	r.area.records.set(r.repo, role.tag, Pushing, "its name is one that programs rename: it is pushed if that doesn't happen within a second")
	if f.deferred.pending() {
		return
	}
	due := func(while time.Duration) bool { return f.closes.quiet(while) && !f.isWritten() }
	f.deferred = r.deferPush(role.tag, manifestsName+"/"+role.tag, due, func(ctx context.Context) error {
		changes := f.version()
		m, err := r.parse(ctx, f, "")
		err = r.pushParsed(ctx, f, role, m, changes, err)
		f.keepResult(changes, err)
		return err
	})
}

// commitAll commits the files of a directory that was moved to its place.
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

// movedWith gives the directories and the files of a directory that was moved.
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
