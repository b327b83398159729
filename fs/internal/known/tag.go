package known

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// ErrUnlisted is the error of a tag that isn't in a believed list of tags.
var ErrUnlisted = errors.New("not in the list of tags")

// Tag is what is known of a tag that exists.
type Tag struct {
	// Digest is that of the tag; "": a list names the tag, and nobody has asked yet.
	Digest   digest.Digest
	Manifest *registry.Manifest // nil: nobody needed it yet
	Until    time.Time          // the end of the belief
}

// tagKey is the key of a tag in a repository.
type tagKey struct {
	repository ref.Repository
	tag        string
}

func (r Repository) tagKey(tag string) tagKey { return tagKey{r.Repository, tag} }

// cacheKey is the key of a tag's pointer in the cache.
func (k tagKey) cacheKey() string { return k.repository.String() + ":" + k.tag }

// pointer is the digest of a tag, as the registry last gave it.
type pointer struct {
	Answer
	digest digest.Digest
}

// LookUpTag finds a tag. An unknown tag sends one GET, an expired one sends one HEAD. A tag that
// a list names sends nothing: the first look into it asks for its digest. A name that isn't in a
// complete list is ErrUnlisted, unless the tag was seen since.
func (r Repository) LookUpTag(ctx context.Context, name string) (Tag, error) {
	l := r.knownTags()
	_, remembered := r.recall(ctx, name)
	if l.has(name) && !remembered {
		return r.Listed(l, name), nil
	}
	if l.lacks(name) {
		if _, fresh := r.fresh(name); !fresh {
			return Tag{}, fmt.Errorf("%s:%s: %w, which came %s ago", r, name, ErrUnlisted, r.rs.now().Sub(l.Since).Round(time.Second))
		}
	}
	t, err := r.Tag(ctx, name)
	if registry.OutOfReach(err) {
		if l := r.oldTags(err); l.has(name) {
			return r.Listed(l, name), nil // its digest isn't known, but it exists
		}
	}
	return t, err
}

// Listed gives a tag that a list names. It sends no request and reads no disk, because listings
// call it for many tags.
func (r Repository) Listed(l TagList, name string) Tag {
	if p, fresh := r.fresh(name); fresh {
		return Tag{Digest: p.digest, Until: p.Until}
	}
	until := r.rs.now().Add(r.rs.o.TagTTL)
	if l.Until.Before(until) {
		until = l.Until
	}
	return Tag{Until: until}
}

// Tag gives the manifest of a tag. It sends one GET for an unknown tag, one HEAD for an expired
// one, and else nothing. If the registry can't be asked, the last known manifest is shown, and a
// person is told.
func (r Repository) Tag(ctx context.Context, tag string) (Tag, error) {
	if p, ok := r.fresh(tag); ok && p.Old {
		if m := r.cachedManifest(p.digest); m != nil {
			return Tag{p.digest, m, p.Until}, nil
		}
	}
	t, err := r.rs.resolving.do(ctx, r.tagKey(tag), func(ctx context.Context) (Tag, error) { return r.resolve(ctx, tag) })
	if registry.OutOfReach(err) {
		if old, ok := r.oldTag(ctx, tag, err); ok {
			return old, nil
		}
	}
	return t, err
}

// resolve asks the registry for what isn't known of a tag, or isn't believed any more.
func (r Repository) resolve(ctx context.Context, tag string) (Tag, error) {
	asked := r.rs.now()
	p, ok := r.recall(ctx, tag)
	switch {
	case !ok:
		return r.getTag(ctx, tag, asked)
	case !p.Believed(asked), p.Old, r.deniedSince(p):
		return r.Revalidate(ctx, tag)
	}
	r.confirm(p.digest)
	m, err := r.Manifest(ctx, p.digest)
	return Tag{p.digest, m, p.Until}, err
}

// deniedSince says whether the manifest of a tag was denied by the registry, or deleted by this
// mount, after the registry said that the tag points at it.
func (r Repository) deniedSince(p pointer) bool {
	last, _ := r.rs.objects.peek(r.manifestObject(p.digest))
	return last.Denied.After(p.Since)
}

// getTag gets the manifest of a tag. asked is when the caller began to ask.
func (r Repository) getTag(ctx context.Context, tag string, asked time.Time) (Tag, error) {
	m, err := r.rs.o.Client.Manifest(ctx, r.Repository, tag)
	if err != nil {
		return Tag{}, err
	}
	r.keep(m)
	return Tag{m.Digest, m, r.remember(tag, m.Digest, asked)}, nil
}

// Revalidate asks the registry with a HEAD for the present digest of a tag.
func (r Repository) Revalidate(ctx context.Context, tag string) (Tag, error) {
	asked := r.rs.now()
	res, err := r.rs.o.Client.ResolveManifest(registry.Impatient(ctx), r.Repository, tag)
	if errors.Is(err, registry.ErrNotFound) {
		r.dropTag(tag)
	}
	if err != nil {
		return Tag{}, err
	}
	m := res.Manifest // from a registry without HEAD
	if m != nil {
		r.keep(m)
		return Tag{m.Digest, m, r.remember(tag, m.Digest, asked)}, nil
	}
	r.confirm(res.Digest)
	m, err = r.Manifest(ctx, res.Digest)
	if errors.Is(err, registry.ErrNotFound) { // its HEAD was wrong, or the tag moved just now
		return r.getTag(ctx, tag, asked)
	}
	if err != nil {
		return Tag{}, err
	}
	return Tag{res.Digest, m, r.remember(tag, res.Digest, asked)}, nil
}

// oldTag gives the last known manifest of a tag, if the cache has it. The registry is out of
// reach, as err says. ok is false if there is none, or if the tag points elsewhere by now.
func (r Repository) oldTag(ctx context.Context, tag string, err error) (Tag, bool) {
	p, ok := r.recall(ctx, tag)
	if !ok {
		return Tag{}, false
	}
	r.hadManifest(p)
	if last, _ := r.rs.objects.peek(r.manifestObject(p.digest)); !last.Denied.IsZero() {
		return Tag{}, false
	}
	m := r.cachedManifest(p.digest)
	if m == nil {
		return Tag{}, false
	}
	now, tell := r.showTagOn(tag, p)
	if tell {
		r.rs.showing(r.notice("lookup", "tags/"+tag), tag, p.Since, err)
	}
	return Tag{p.digest, m, now.Until}, now.digest == p.digest
}

// showTagOn shows a tag with its old digest for a moment more, unless it points elsewhere by now.
// It gives the present pointer. tell says that a person must be told.
func (r Repository) showTagOn(tag string, p pointer) (now pointer, tell bool) {
	r.rs.tags.update(r.tagKey(tag), func(v pointer, ok bool) (pointer, bool) {
		if !ok {
			v = p // dropped from memory meanwhile
		}
		if v.digest == p.digest {
			tell = v.showOn(r.rs.now())
		}
		now = v
		return v, true
	})
	return now, tell
}

// recall gives what is known of a tag, in memory or on disk from earlier mounts. What a registry
// told one account isn't used for another account that shares the cache.
func (r Repository) recall(ctx context.Context, tag string) (pointer, bool) {
	k := r.tagKey(tag)
	if p, ok := r.rs.tags.get(k); ok {
		return p, true
	}
	kept, ok := r.rs.o.Store.Recall(k.cacheKey())
	if !ok || !r.rs.o.Client.HasAccount(ctx, r.Repository, kept.Told) {
		return pointer{}, false
	}
	p := pointer{Answer{Since: kept.Checked, Until: kept.Checked.Add(r.rs.o.TagTTL)}, kept.Digest}
	r.rs.tags.update(k, func(v pointer, ok bool) (pointer, bool) {
		if ok { // the registry itself told it meanwhile
			p = v
		}
		return p, true
	})
	return p, true
}

// remember stores the digest of a tag that the registry gave. It gives the end of the belief.
// asked is when the registry was asked, or told by a push. An answer that is older than a later
// push isn't stored, and expires at once.
func (r Repository) remember(tag string, d digest.Digest, asked time.Time) (until time.Time) {
	k := r.tagKey(tag)
	p := pointer{r.rs.answered(r.rs.o.TagTTL), d}
	newer := false
	r.rs.tags.update(k, func(v pointer, ok bool) (pointer, bool) {
		if newer = ok && v.Since.After(asked) && v.digest != d; newer {
			return v, true
		}
		return p, true
	})
	if newer {
		return p.Since
	}
	kept := cache.Pointer{Digest: d, Checked: p.Since, Told: r.rs.o.Client.Account(r.Repository)}
	if err := r.rs.o.Store.Remember(k.cacheKey(), kept); err != nil {
		r.rs.log.Debug("tag not remembered on disk", "repository", r, "tag", tag, "cause", err)
	}
	return p.Until
}

// dropTag drops what is known of a tag, because the registry lacks the tag.
func (r Repository) dropTag(tag string) {
	k := r.tagKey(tag)
	r.rs.tags.remove(k)
	r.rs.o.Store.Forget(k.cacheKey())
}

// fresh gives the pointer of a tag, and whether it is believed. It reads no disk.
func (r Repository) fresh(tag string) (pointer, bool) {
	p, ok := r.rs.tags.get(r.tagKey(tag))
	return p, ok && p.Believed(r.rs.now())
}

// eachTag calls do with the tags of the repository in memory, until do gives false.
func (r Repository) eachTag(do func(tag string, p pointer) bool) {
	r.rs.tags.each(func(k tagKey, p pointer) bool { return k.repository != r.Repository || do(k.tag, p) })
}

// answersForATag says whether the registry still has the tag that was asked for last. Some
// registries answer a list of tags with 404 for repositories that they serve.
func (r Repository) answersForATag(ctx context.Context) bool {
	tag, last := "", pointer{}
	r.eachTag(func(t string, p pointer) bool {
		if tag == "" || p.Since.After(last.Since) {
			tag, last = t, p
		}
		return true
	})
	if tag == "" {
		return false
	}
	_, err := r.Tag(ctx, tag)
	return err == nil
}
