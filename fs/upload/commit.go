package upload

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
)

// commit pushes what a file is to be pushed as, where it changed since the last
// time. Else the result of that time is given again.
func (r *Root) commit(ctx context.Context, f *File) error { return r.commitFor(ctx, f, false) }

// commitFor is commit, and, for the last who had the file open, of what has no byte
// as well.
func (r *Root) commitFor(ctx context.Context, f *File, last bool) error {
	if r.roleOf(f).kind == staged {
		return nil
	}
	leave, err := r.area.enter()
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := r.area.under(ctx)
	defer cancel()
	if err := f.turn.take(ctx); err != nil {
		return err
	}
	defer f.turn.give()
	f.mu.Lock()
	changes := f.changes
	if f.settled == changes || f.broken != nil {
		defer f.mu.Unlock()
		return cmp.Or(f.broken, f.result)
	}
	f.mu.Unlock()
	settled, err := r.push(ctx, f, last)
	if ctx.Err() != nil && err != nil { // given up: that says nothing about the next time
		return fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	f.mu.Lock()
	if settled && f.changes == changes {
		f.settled, f.result = changes, err
	}
	idle := f.writers == 0
	f.mu.Unlock()
	if idle {
		r.adopt(f)
	}
	return err
}

// push does what the role of a file asks for. It isn't settled where the file isn't
// complete.
func (r *Root) push(ctx context.Context, f *File, last bool) (settled bool, err error) {
	role := r.roleOf(f)
	switch role.kind {
	case blob:
		return r.commitBlob(ctx, f, role)
	case namedBlob:
		if f.Attr().Size == 0 && !last {
			return false, nil // a shell flushes before the first byte
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
	r.mu.Lock()
	r.staged[got] = f
	r.mu.Unlock()
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
	f.mu.Lock()
	size, borrowed := f.size, f.content.Digest != ""
	f.mu.Unlock()
	if borrowed || size > registry.MaxManifest || size < 2 {
		return false // a copy of a manifest is made of its bytes, one of a blob isn't
	}
	raw, err := f.readAll(ctx, registry.MaxManifest)
	if err != nil {
		return false
	}
	if _, err := registry.ParseManifest(raw, "", d); err != nil {
		return false
	}
	f.mu.Lock()
	f.manifest = true
	f.mu.Unlock()
	return true
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

// commitManifest pushes a manifest under what its name says. Nothing is no manifest
// yet: a shell flushes before the first byte.
func (r *Root) commitManifest(ctx context.Context, f *File, role role) (bool, error) {
	if f.Attr().Size == 0 {
		return false, nil
	}
	target := role.tag
	if target == "" {
		target = role.digest.String()
	}
	m, err := r.parse(ctx, f, role.digest)
	if err == nil {
		f.mu.Lock()
		f.manifest = true
		f.mu.Unlock()
		err = r.pushNamedManifest(ctx, m, role.tag)
	}
	r.area.record(r.repo, target, err)
	if err != nil {
		return true, err
	}
	f.mu.Lock()
	f.pushed = true
	f.mu.Unlock()
	return true, r.arrived(ctx, m.Digest)
}

// commitAll commits what stands in a directory that was moved to its place.
func (r *Root) commitAll(ctx context.Context, d *Dir) error {
	var indexes, others []*File
	var dirs []*Dir
	r.mu.Lock()
	for _, n := range d.children {
		switch n := n.(type) {
		case *Dir:
			dirs = append(dirs, n)
		case *File:
			n.mu.Lock()
			n.changes++
			n.mu.Unlock()
			if roleAt(d, n.name).kind == index {
				indexes = append(indexes, n)
			} else {
				others = append(others, n)
			}
		}
	}
	r.mu.Unlock()
	var errs []error
	for _, n := range dirs {
		errs = append(errs, r.commitAll(ctx, n))
	}
	for _, f := range append(others, indexes...) {
		errs = append(errs, r.commit(ctx, f))
	}
	return errors.Join(errs...)
}
