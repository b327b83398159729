package known

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

const (
	// knownFor is how long a repository is believed to have what it named or showed.
	knownFor = time.Hour
	// missingFor is how long a repository is believed to lack what it denied.
	missingFor = 5 * time.Second
)

// object is something that a repository may have. Manifests and blobs are different objects,
// because a registry has an endpoint for each: a digest that is missing at one may exist at the
// other.
type object struct {
	repository ref.Repository
	kind       objectKind
	digest     digest.Digest
}

type objectKind int

const (
	blobKind objectKind = iota
	manifestKind
)

func (r Repository) blobObject(d digest.Digest) object { return object{r.Repository, blobKind, d} }

func (r Repository) manifestObject(d digest.Digest) object {
	return object{r.Repository, manifestKind, d}
}

// presence says whether the repository has an object.
type presence struct {
	Answer
	size int64 // in bytes; -1: not known
	// admitted says that the pieces of the manifest are known.
	admitted bool
	// asked says that the registry itself answered for the object; false: a manifest names
	// it.
	asked bool
}

// Blob is a blob that a repository has.
type Blob struct {
	Size int64 // in bytes
	// Old says that the registry can't be asked now, and had the blob before.
	Old bool
}

// missing says whether the registry's last answer is that it lacks the object.
func (p presence) missing() bool { return !p.Denied.IsZero() }

// has gives the last answer of the registry on o, which may be a denial. ok says that the answer
// is believed.
func (r Repository) has(o object) (presence, bool) {
	p, ok := r.rs.objects.get(o)
	return p, ok && p.Believed(r.rs.now())
}

// deny notes that the repository lacks o.
func (r Repository) deny(o object) { r.rs.objects.set(o, presence{Answer: r.rs.denied()}) }

// saw notes that the registry has o. size is in bytes; -1: keep the last known size.
func (r Repository) saw(o object, size int64) presence {
	return r.know(o, presence{size: size, asked: true})
}

// promised notes that a manifest of the repository names o.
func (r Repository) promised(o object, size int64) { r.know(o, presence{size: size}) }

func (r Repository) know(o object, p presence) presence {
	p.Answer = r.rs.answered(knownFor)
	r.rs.objects.update(o, func(before presence, ok bool) (presence, bool) {
		if ok && !before.missing() {
			if p.size < 0 {
				p.size = before.size
			}
			p.admitted = before.admitted && before.Believed(p.Since)
		}
		return p, true
	})
	r.visit()
	return p
}

// hadManifest notes that the repository had the manifest of a tag when the tag was last checked,
// unless something newer is known.
func (r Repository) hadManifest(p pointer) {
	at := p.Since
	if now := r.rs.now(); at.After(now) { // the clock was set back
		at = now
	}
	r.rs.objects.update(r.manifestObject(p.digest), func(v presence, ok bool) (presence, bool) {
		if ok {
			return v, true
		}
		return presence{Answer: Answer{Since: at, Until: at.Add(knownFor)}, size: -1}, true
	})
}

// DoubtBlob drops what is known of a blob whose bytes didn't have the expected digest and size.
// The next lookup asks again. dropped is false if something else is known by now.
func (r Repository) DoubtBlob(d digest.Digest, size int64) (dropped bool) {
	r.rs.objects.update(r.blobObject(d), func(p presence, ok bool) (presence, bool) {
		dropped = ok && !p.missing() && p.size == size
		return p, ok && !dropped
	})
	return dropped
}

// had gives what the repository had when its registry could be asked. err says that it can't be
// asked now; a person is told. What was denied since isn't there. It is for lookups; a push
// mustn't rely on it.
func (r Repository) had(o object, err error) (presence, bool) {
	p, ok := r.rs.objects.peek(o)
	if !ok || p.missing() || !registry.OutOfReach(err) {
		return presence{}, false
	}
	in := "blobs/"
	if o.kind == manifestKind {
		in = "manifests/"
	}
	at := r.notice("lookup", in+o.digest.Algorithm().String()+"/"+o.digest.Encoded())
	r.rs.showing(at, o.digest.String(), p.Since, err)
	return p, true
}

// deniedBefore says whether the registry is out of reach, as err says, and denied o when it was
// last asked.
func (r Repository) deniedBefore(o object, err error) bool {
	last, ok := r.rs.objects.peek(o)
	return ok && last.missing() && registry.OutOfReach(err)
}

// Lacks says, from memory alone, whether the repository denied a blob moments ago.
func (r Repository) Lacks(d digest.Digest) bool {
	p, ok := r.has(r.blobObject(d))
	return ok && p.missing()
}

// LacksManifest says, from memory alone, whether the repository denied a manifest moments ago.
func (r Repository) LacksManifest(d digest.Digest) bool {
	p, ok := r.has(r.manifestObject(d))
	return ok && p.missing()
}

// HasManifest says, from memory alone, whether the repository has a manifest.
func (r Repository) HasManifest(d digest.Digest) bool {
	p, ok := r.has(r.manifestObject(d))
	return ok && !p.missing()
}

// BlobSize gives the size in bytes of a blob that the repository has. It sends a HEAD if no
// manifest named the blob. A manifest that the repository has shown counts as a blob.
func (r Repository) BlobSize(ctx context.Context, d digest.Digest) (int64, error) {
	if p, ok := r.has(r.manifestObject(d)); ok && !p.missing() && p.size >= 0 {
		return p.size, nil
	}
	p, err := r.probe(ctx, d)
	return p.size, err
}

// LookUpBlob is BlobSize for lookups. If the registry is out of reach, its last answer counts.
func (r Repository) LookUpBlob(ctx context.Context, d digest.Digest) (Blob, error) {
	size, err := r.BlobSize(ctx, d)
	if err == nil {
		return Blob{Size: size}, nil
	}
	o := r.blobObject(d)
	if last, ok := r.rs.objects.peek(r.manifestObject(d)); ok && !last.missing() && last.size >= 0 {
		o = r.manifestObject(d)
	}
	if had, ok := r.had(o, err); ok {
		return Blob{had.size, true}, nil
	}
	return Blob{}, err
}

// probe asks the endpoint of blobs whether the repository has a blob, unless that is known.
func (r Repository) probe(ctx context.Context, d digest.Digest) (presence, error) {
	o := r.blobObject(d)
	p, ok := r.has(o)
	if ok && p.missing() {
		return presence{}, r.notFound(d)
	}
	if ok {
		return p, nil
	}
	return r.rs.probing.do(ctx, digestKey{r.Repository, d}, func(ctx context.Context) (presence, error) {
		res, err := r.rs.o.Client.ResolveBlob(ctx, r.Repository, d)
		if errors.Is(err, registry.ErrNotFound) {
			r.deny(o)
		}
		if err != nil {
			return presence{}, err
		}
		return r.saw(o, res.Size), nil
	})
}

// notFound makes the error for a digest that the repository denied moments ago.
func (r Repository) notFound(d digest.Digest) error {
	return fmt.Errorf("%s@%s: %w", r, d, registry.ErrNotFound)
}
