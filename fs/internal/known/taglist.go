package known

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/ref"
)

// TagList is the tags of a repository, sorted and each once.
type TagList struct {
	Answer
	Names   []string      // nil: not known
	Content digest.Digest // the fingerprint of the names
	whole   bool          // the registry itself gave it: it names all tags
}

// with gives the list with other names.
func (l TagList) with(names []string) TagList {
	l.Names, l.Content = names, fingerprint(names)
	return l
}

func (l TagList) has(name string) bool {
	_, ok := slices.BinarySearch(l.Names, name)
	return ok
}

// lacks says whether there is no tag of a name: the list is whole, and the registry was in
// reach.
func (l TagList) lacks(name string) bool {
	return l.Names != nil && l.whole && !l.Old && !l.has(name)
}

// Tags lists the tags, all pages. Names that no path can have are left out. Where the registry
// doesn't list them, those that this mount has seen are listed.
func (r Repository) Tags(ctx context.Context) (TagList, error) {
	if l := r.knownTags(); l.Names != nil {
		return l, nil
	}
	l, err := r.askTags(ctx)
	if registry.OutOfReach(err) {
		if old := r.oldTags(err); old.Names != nil {
			return old, nil
		}
	}
	if seen := r.seenTags(ctx, err); seen.Names != nil {
		return seen, nil
	}
	return l, err
}

// askTags asks for the list of tags, unless that was refused a moment ago.
func (r Repository) askTags(ctx context.Context) (TagList, error) {
	if err := r.refused(); err != nil {
		return TagList{}, err
	}
	return r.rs.listingTags.do(ctx, r.Repository, func(ctx context.Context) (TagList, error) {
		moment := r.rs.changes.now()
		names, whole := []string{}, true
		for page, err := range r.rs.o.Client.Tags(ctx, r.Repository) {
			if err != nil {
				return TagList{}, err
			}
			names = append(names, page.Tags...)
			whole = whole && !page.Mirrored
		}
		names = slices.DeleteFunc(names, func(s string) bool { return !ref.ValidTag(s) })
		slices.Sort(names)
		l := TagList{Answer: r.rs.answered(r.rs.o.ListTTL), whole: whole}.with(slices.Clip(slices.Compact(names)))
		r.rs.lists.addUnless(r.Repository, l, func() bool { return r.rs.changes.since(r.Repository, moment) })
		r.visit()
		return l, nil
	})
}

// oldTags is the list as it was, else the zero value: the registry is out of reach, as err
// says.
func (r Repository) oldTags(err error) TagList {
	l := r.rs.lists.Get(r.Repository)
	if l.Names == nil {
		return TagList{}
	}
	tell := false
	l = r.rs.lists.update(r.Repository, func(l TagList) TagList {
		tell = l.Names != nil && l.showOn(r.rs.now())
		return l
	})
	if tell {
		r.rs.showing(r.notice("opendir", "tags"), "the tags", l.Since, err)
	}
	return l
}

// knownTags is the list where it is still believed, else the zero value.
func (r Repository) knownTags() TagList {
	if l := r.rs.lists.Get(r.Repository); l.Believed(r.rs.now()) {
		return l
	}
	return TagList{}
}

// refusal is a registry's refusal to list tags.
type refusal struct {
	err      error
	until    time.Time // the registry isn't asked again before
	reported bool      // a person knows that the tags that were seen are listed in its place
}

// refuses says whether err is a registry's refusal to list tags: there may be tags.
func refuses(err error) bool {
	return errors.Is(err, registry.ErrUnsupported) || errors.Is(err, registry.ErrDenied)
}

// refused gives the refusal of a moment ago; nil: there is none.
func (r Repository) refused() error {
	last, _ := r.rs.refusals.get(r.Repository)
	if r.rs.now().Before(last.until) {
		return last.err
	}
	return nil
}

// noteRefusal remembers a refusal, unless there is one of a moment ago.
func (r Repository) noteRefusal(err error) {
	r.rs.refusals.update(r.Repository, func(last refusal, _ bool) (refusal, bool) {
		if now := r.rs.now(); !now.Before(last.until) {
			last = refusal{err: err, until: now.Add(shownFor)}
		}
		return last, true
	})
}

// reportRefusal says, once for each refusal, that a person has to know of it.
func (r Repository) reportRefusal() (report bool) {
	r.rs.refusals.update(r.Repository, func(last refusal, _ bool) (refusal, bool) {
		report = !last.reported
		last.reported = true
		return last, true
	})
	return report
}

// seenTags gives the list of the tags that this mount looked up or pushed, for a registry that
// doesn't list tags, as err says. The zero value says that err stands: no tag was seen, or
// there is no such repository.
func (r Repository) seenTags(ctx context.Context, err error) TagList {
	if !refuses(err) && !(errors.Is(err, registry.ErrNotFound) && r.answersForATag(ctx)) {
		return TagList{}
	}
	var names []string
	r.eachTag(func(tag string, _ pointer) bool {
		names = append(names, tag)
		return true
	})
	if len(names) == 0 {
		if !errors.Is(err, registry.ErrDenied) { // a login takes effect at once
			r.noteRefusal(err)
		}
		return TagList{}
	}
	r.noteRefusal(err)
	if r.reportRefusal() {
		n := r.notice("opendir", "tags")
		n.Hint = "nothing to do: the tags that this mount has looked up or pushed are listed, and others can be looked up by name"
		n.Err = fmt.Errorf("listing the tags that were seen, %d of them: %w", len(names), err)
		r.rs.o.Notify(n)
	}
	slices.Sort(names)
	return TagList{Answer: r.rs.answered(shownFor)}.with(names)
}
