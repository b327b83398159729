package fs

import (
	"context"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
)

const (
	// knownFor is how long it is believed that a repository has something that
	// it named or showed, missingFor that it doesn't have what it denied.
	knownFor   = time.Hour
	missingFor = 5 * time.Second
	// maxKnown bounds what is remembered of one repository.
	maxKnown = 1 << 14
)

// object is something that a repository may have. Manifests and blobs are apart:
// a registry answers for each at an endpoint of its own, and what isn't there as
// the one may be there as the other.
type object struct {
	kind   objectKind
	digest digest.Digest
}

type objectKind int

const (
	blobKind objectKind = iota
	manifestKind
)

func blobObject(d digest.Digest) object     { return object{blobKind, d} }
func manifestObject(d digest.Digest) object { return object{manifestKind, d} }

// presence is whether the repository has an object.
type presence struct {
	missing bool
	size    int64 // -1: not known
	opened  bool  // the manifest was admitted, and so were the pieces that it names
	// answered says that the registry itself answered for the object; else a manifest names it.
	answered bool
	expires  time.Time
}

// objects is what is known of the objects of one repository. It is safe for
// concurrent use.
type objects struct {
	lru *lru.Cache[object, presence]
}

func newObjects() objects {
	c, err := lru.New[object, presence](maxKnown)
	if err != nil {
		panic(err) // the size is positive
	}
	return objects{c}
}

// has says what is known, and still believed, of o.
func (os objects) has(o object) (presence, bool) {
	p, ok := os.lru.Get(o)
	return p, ok && time.Now().Before(p.expires)
}

// told says what was last told of o, whether that is believed or not.
func (os objects) told(o object) (presence, bool) { return os.lru.Peek(o) }

// denied remembers that the repository doesn't have o.
func (os objects) denied(o object) {
	os.lru.Add(o, presence{missing: true, expires: time.Now().Add(missingFor)})
}

// saw remembers that the registry answered for o. size is in bytes; -1: the last known one.
func (r *repository) saw(o object, size int64) presence {
	return r.know(o, presence{size: size, answered: true})
}

// promised remembers that a manifest of the repository names o.
func (r *repository) promised(o object, size int64) { r.know(o, presence{size: size}) }

func (r *repository) know(o object, p presence) presence {
	p.expires = time.Now().Add(knownFor)
	if before, ok := r.known.lru.Peek(o); ok && !before.missing {
		if p.size < 0 {
			p.size = before.size
		}
		p.opened = before.opened && time.Now().Before(before.expires)
	}
	r.known.lru.Add(o, p)
	r.tree.visit(r.Repository)
	return p
}

// knew remembers that the repository had the manifest d when its tag was last
// checked, where nothing newer is known.
func (r *repository) knew(p pointer) {
	at := p.checked
	if now := time.Now(); at.After(now) { // by a clock that was set back
		at = now
	}
	r.known.lru.ContainsOrAdd(manifestObject(p.digest), presence{size: -1, expires: at.Add(knownFor)})
}

// doubt forgets what was believed of a blob whose bytes turned out not to be of the
// digest and the size that it was told to have. The next lookup asks again.
func (r *repository) doubt(d digest.Digest, size int64) {
	if p, ok := r.known.told(blobObject(d)); ok && !p.missing && p.size == size {
		r.known.lru.Remove(blobObject(d))
		r.tree.wait(r.tree.outdate(r.Repository, digestEntry(blobsName, d)))
	}
}

// had says what the repository had at a place when its registry could be asked, which
// it can't be now, as err says. That is told. What was denied since isn't there. It
// is for those who look: a push mustn't rely on it.
func (r *repository) had(ctx context.Context, at place, o object, err error) (presence, bool) {
	p, ok := r.known.told(o)
	if !ok || p.missing || !registry.OutOfReach(err) {
		return presence{}, false
	}
	at.showing(ctx, "lookup", o.digest.String(), p.expires.Add(-knownFor), err)
	return p, true
}

// confirm believes that the repository has the manifest d, as its tag said so.
func (r *repository) confirm(d digest.Digest) { r.saw(manifestObject(d), -1) }

// admit takes in a manifest that the repository showed. The manifest can be had here, and so
// can its pieces, but for those of which only the registry can tell.
func (r *repository) admit(m *registry.Manifest) {
	for piece := range pieces(m) {
		o, ok := piece.promised()
		if !ok {
			continue
		}
		if p, ok := r.known.has(o); !ok || p.missing {
			r.promised(o, piece.size)
		}
	}
	p := r.saw(manifestObject(m.Digest), int64(len(m.Raw)))
	p.opened = true
	r.known.lru.Add(manifestObject(m.Digest), p)
	r.tree.manifests.add(m)
}

// keep is admit for a manifest that came from the registry: it goes to the
// cache as well.
func (r *repository) keep(m *registry.Manifest) {
	r.admit(m)
	if err := r.tree.store.Put(m.Digest, m.Raw); err != nil {
		// It was shown all the same; the next mount asks again.
		r.tree.log.Debug("manifest not cached", "digest", m.Digest, "cause", err)
	}
}

// notFound is the error of a digest that the repository denied moments ago.
func notFound(r *repository, d digest.Digest) error {
	return fmt.Errorf("%s@%s: %w", r, d, registry.ErrNotFound)
}
