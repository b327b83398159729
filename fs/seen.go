package fs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ocifs/ocifs/registry"
)

// refusal is a registry's refusal to list tags. It isn't asked again before expires.
type refusal struct {
	err     error
	expires time.Time
	told    bool // that the tags that were seen are listed in its place
}

// refuses says whether err is a registry's refusal to list tags, which says nothing about
// whether there are any.
func refuses(err error) bool {
	return errors.Is(err, registry.ErrUnsupported) || errors.Is(err, registry.ErrDenied)
}

// refused gives the refusal of a moment ago; nil: there is none.
func (r *repository) refused() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.refusal.expires) {
		return r.refusal.err
	}
	return nil
}

// noteRefusal remembers a refusal, where there is none of a moment ago. It says whether
// what is listed in place of the list is to be told: once for each refusal.
func (r *repository) noteRefusal(err error, listed bool) (tell bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !time.Now().Before(r.refusal.expires) {
		r.refusal = refusal{err: err, expires: time.Now().Add(shownFor)}
	}
	tell = listed && !r.refusal.told
	r.refusal.told = r.refusal.told || listed
	return tell
}

// seenTags is the list of the tags that this mount looked up or pushed, for a registry that
// doesn't list them, as err says. The zero value says that err stands: nothing was seen, or
// there is no such repository.
func (r *repository) seenTags(ctx context.Context, err error) tagList {
	if !refuses(err) && !(errors.Is(err, registry.ErrNotFound) && r.answersForATag(ctx)) {
		return tagList{}
	}
	r.mu.Lock()
	names := slices.Sorted(maps.Keys(r.tags))
	r.mu.Unlock()
	if len(names) == 0 {
		if !errors.Is(err, registry.ErrDenied) { // whoever logs in is let in at once
			r.noteRefusal(err, false)
		}
		return tagList{}
	}
	if r.noteRefusal(err, true) {
		place{r.tree, r.path(tagsName)}.tell(ctx, "opendir", "nothing to do: the tags that this mount has looked up or pushed are listed, and others can be looked up by name",
			fmt.Errorf("listing the tags that were seen, %d of them: %w", len(names), err))
	}
	return tagList{belief: believe(shownFor)}.with(names)
}

// answersForATag says whether the registry still has the tag that it was asked for last.
// Some deny repositories that they serve, where they are asked for a list.
func (r *repository) answersForATag(ctx context.Context) bool {
	r.mu.Lock()
	tag, last := "", pointer{}
	for t, p := range r.tags {
		if tag == "" || p.checked.After(last.checked) {
			tag, last = t, p
		}
	}
	r.mu.Unlock()
	if tag == "" {
		return false
	}
	_, err := r.tag(ctx, tag)
	return err == nil
}
