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

// refusal is a registry's refusal to list tags.
type refusal struct {
	err      error
	expires  time.Time // the registry isn't asked again before
	reported bool      // a person knows that the tags that were seen are listed in its place
}

// refuses says whether err is a registry's refusal to list tags: there may be tags.
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

// noteRefusal remembers a refusal, unless there is one of a moment ago. listed says that the
// tags that were seen are listed in place of the list. report is true for the first such
// listing of each refusal: a person has to know.
func (r *repository) noteRefusal(err error, listed bool) (report bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !time.Now().Before(r.refusal.expires) {
		r.refusal = refusal{err: err, expires: time.Now().Add(shownFor)}
	}
	report = listed && !r.refusal.reported
	r.refusal.reported = r.refusal.reported || listed
	return report
}

// seenTags gives the list of the tags that this mount looked up or pushed, for a registry that
// doesn't list tags, as err says. The zero value says that err stands: no tag was seen, or
// there is no such repository.
func (r *repository) seenTags(ctx context.Context, err error) tagList {
	if !refuses(err) && !(errors.Is(err, registry.ErrNotFound) && r.answersForATag(ctx)) {
		return tagList{}
	}
	r.mu.Lock()
	names := slices.Sorted(maps.Keys(r.tags))
	r.mu.Unlock()
	if len(names) == 0 {
		if !errors.Is(err, registry.ErrDenied) { // a login takes effect at once
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

// answersForATag says whether the registry still has the tag that it was asked for last. Some
// registries answer a list of tags with 404 for repositories that they serve.
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
