package fs

import (
	"context"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/cache"
)

// pointer is what a tag points at, and when the registry last said so.
type pointer struct {
	digest  digest.Digest
	checked time.Time
	// shown is until when it is shown without asking, as its registry was out of reach.
	shown time.Time
}

// pointerKey is what a tag's pointer is kept under in the cache.
func (r *repository) pointerKey(tag string) string { return r.String() + ":" + tag }

// recall gives what is remembered of a tag, over restarts. What a registry told
// one account says nothing about what it tells another who shares the cache.
func (r *repository) recall(ctx context.Context, tag string) (pointer, bool) {
	r.mu.Lock()
	p, ok := r.tags[tag]
	r.mu.Unlock()
	if ok {
		return p, true
	}
	kept, ok := r.tree.store.Recall(r.pointerKey(tag))
	if !ok || !r.tree.client.HasAccount(ctx, r.Repository, kept.Told) {
		return pointer{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.tags[tag]; ok { // of the registry itself, meanwhile
		return p, true
	}
	r.tags[tag] = pointer{digest: kept.Digest, checked: kept.Checked}
	return r.tags[tag], true
}

// remember keeps what the registry says of a tag, and gives until when that is
// believed. asked is when it was asked, or told: what a push has done meanwhile is
// newer than the answer.
func (r *repository) remember(tag string, d digest.Digest, asked time.Time) time.Time {
	now := time.Now()
	r.mu.Lock()
	if p, ok := r.tags[tag]; ok && p.checked.After(asked) && p.digest != d {
		r.mu.Unlock()
		return now
	}
	r.tags[tag] = pointer{digest: d, checked: now}
	r.mu.Unlock()
	p := cache.Pointer{Digest: d, Checked: now, Told: r.tree.client.Account(r.Repository)}
	if err := r.tree.store.Remember(r.pointerKey(tag), p); err != nil {
		r.tree.log.Debug("tag not remembered on disk", "repository", r, "tag", tag, "cause", err)
	}
	return now.Add(r.tree.opts.TagTTL)
}

// forget drops what is remembered of a tag.
func (r *repository) forget(tag string) {
	r.mu.Lock()
	delete(r.tags, tag)
	r.mu.Unlock()
	r.tree.store.Forget(r.pointerKey(tag))
}

// fresh gives what a tag points at where that needn't be asked, and until when.
// It looks at no disk, as listings of many tags ask it.
func (r *repository) fresh(tag string) (p pointer, expires time.Time, ok bool) {
	r.mu.Lock()
	p, ok = r.tags[tag]
	r.mu.Unlock()
	if ok && time.Now().Before(p.shown) {
		return p, p.shown, true
	}
	expires, believed := r.believed(p)
	return p, expires, ok && believed
}

// showOn has a tag shown as it was for a moment more. It says until when, and whether
// that is to be told; not ok is of one that isn't known as p any more.
func (r *repository) showOn(tag string, p pointer) (until time.Time, tell, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.tags[tag]
	if now.digest != p.digest {
		return time.Time{}, false, false
	}
	if tell = !time.Now().Before(now.shown); tell {
		now.shown = time.Now().Add(shownFor)
		r.tags[tag] = now
	}
	return now.shown, tell, true
}

// believed says whether a pointer is, and until when.
func (r *repository) believed(p pointer) (until time.Time, ok bool) {
	// A clock that was set back doesn't make old knowledge new.
	now := time.Now()
	until = p.checked.Add(r.tree.opts.TagTTL)
	return until, now.Before(until) && !p.checked.After(now.Add(time.Second))
}
