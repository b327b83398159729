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
	r.tags[tag] = pointer{kept.Digest, kept.Checked}
	return r.tags[tag], true
}

// remember keeps what the registry just said of a tag, and gives until when that
// is believed.
func (r *repository) remember(tag string, d digest.Digest) time.Time {
	now := time.Now()
	r.mu.Lock()
	r.tags[tag] = pointer{d, now}
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

// fresh gives what a tag points at where that needn't be asked.
func (r *repository) fresh(ctx context.Context, tag string) (d digest.Digest, expires time.Time, ok bool) {
	if _, ok := r.recall(ctx, tag); !ok {
		return "", time.Time{}, false
	}
	return r.freshInMemory(tag)
}

// freshInMemory is fresh without a look at the disk, for listings of many tags.
func (r *repository) freshInMemory(tag string) (d digest.Digest, expires time.Time, ok bool) {
	r.mu.Lock()
	p, ok := r.tags[tag]
	r.mu.Unlock()
	// A clock that was set back doesn't make old knowledge new.
	now := time.Now()
	expires = p.checked.Add(r.tree.opts.TagTTL)
	return p.digest, expires, ok && now.Before(expires) && !p.checked.After(now.Add(time.Second))
}
