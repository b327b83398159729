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

// TagList has the tags of a repository, sorted, each once.
type TagList struct {
	Answer
	Names   []string      // nil: not known
	Content digest.Digest // the fingerprint of the names
	whole   bool          // it names all tags of at most ListTTL before, and came from the registry itself
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

// lacks says whether the tag is known not to exist: the list is complete and not old, and doesn't
// name it.
func (l TagList) lacks(name string) bool {
	return l.Names != nil && l.whole && !l.Old && !l.has(name)
}

// Tags lists the tags, all pages. It leaves out names that no path can have. If the registry
// doesn't list tags, it lists those that this mount has seen.
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

// askTags asks for the list of tags, unless the registry refused that moments ago.
func (r Repository) askTags(ctx context.Context) (TagList, error) {
	if err := r.refused(); err != nil {
		return TagList{}, err
	}
	return r.rs.listingTags.do(ctx, r.Repository, func(ctx context.Context) (TagList, error) {
		all, err := r.listTags(ctx)
		if err != nil {
			return TagList{}, err
		}
		names := slices.DeleteFunc(all.names(), func(s string) bool { return !ref.ValidTag(s) })
		slices.Sort(names)
		l := TagList{Answer: r.rs.answered(r.rs.o.ListTTL)}.with(slices.Clip(slices.Compact(names)))
		// A first page that is older than a list may be denies no tag.
		l.whole = all.whole && l.Since.Sub(all.begun) <= r.rs.o.ListTTL
		r.rs.lists.addUnless(r.Repository, l, func() bool { return r.rs.changes.since(r.Repository, all.moment) })
		r.visit()
		return l, nil
	})
}

// oldTags gives the last list, because the registry is out of reach, as err says. The zero value
// means that there is none.
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

// knownTags gives the list if it is still believed, else the zero value.
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
	reported bool      // a person was told that the seen tags are listed instead
}

// refuses says whether err is a refusal to list tags. There may still be tags. What refuses a later
// page does list tags.
func refuses(err error) bool {
	var broken *brokenList
	if errors.As(err, &broken) {
		return false
	}
	return errors.Is(err, registry.ErrUnsupported) || errors.Is(err, registry.ErrDenied)
}

// refused gives the refusal of moments ago; nil: there is none.
func (r Repository) refused() error {
	last, _ := r.rs.refusals.get(r.Repository)
	if r.rs.now().Before(last.until) {
		return last.err
	}
	return nil
}

// noteRefusal notes a refusal, unless there is one of moments ago.
func (r Repository) noteRefusal(err error) {
	r.rs.refusals.update(r.Repository, func(last refusal, _ bool) (refusal, bool) {
		if now := r.rs.now(); !now.Before(last.until) {
			last = refusal{err: err, until: now.Add(shownFor)}
		}
		return last, true
	})
}

// reportRefusal says whether a person must be told of the refusal. It says so once for each
// refusal.
func (r Repository) reportRefusal() (report bool) {
	r.rs.refusals.update(r.Repository, func(last refusal, _ bool) (refusal, bool) {
		report = !last.reported
		last.reported = true
		return last, true
	})
	return report
}

// seenTags lists the tags that this mount looked up or pushed, for a registry that doesn't list
// tags, as err says. The zero value means that the caller gets err: no tag was seen, or there is
// no such repository.
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
