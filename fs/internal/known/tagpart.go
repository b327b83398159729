package known

import (
	"context"
	"fmt"
	"time"

	"github.com/ocifs/ocifs/registry"
)

// tagPart is the beginning of a list of tags that broke off, or whose callers all left. It is never
// shown: a part of a list says of no tag that it isn't there. The next listing goes on after it, so
// that a list of hundreds of slow pages comes to its end by trying again.
type tagPart struct {
	pages  [][]string       // the names of each page that came, in the registry's order
	came   int              // how many names the pages have
	last   registry.TagPage // the last page that came
	whole  bool             // no mirror told a page of it
	moment uint64           // of changes, when the list was begun
	begun  time.Time
	until  time.Time // after that the list is begun anew
}

// names gives the names of all pages.
func (p tagPart) names() []string {
	names := make([]string, 0, p.came)
	for _, page := range p.pages {
		names = append(names, page...)
	}
	return names
}

// tagPart takes the part of a list that the next one goes on after. ok is false if there is none
// that holds: this mount changed the repository, or the part has expired.
func (r Repository) tagPart() (p tagPart, ok bool) {
	p = r.rs.tagParts.Get(r.Repository)
	r.rs.tagParts.Remove(r.Repository)
	now := r.rs.now()
	ok = now.Before(p.until) && !p.begun.After(now.Add(clockStep)) && !r.rs.changes.since(r.Repository, p.moment)
	return p, ok
}

// listTags asks for the pages of the list of tags, or for those that are left of the last one that
// broke off. After an error, the pages that came are kept for ListTTL.
func (r Repository) listTags(ctx context.Context) (tagPart, error) {
	p, ok := r.tagPart()
	pages := r.rs.o.Client.TagPagesAfter(ctx, r.Repository, p.last)
	if !ok {
		p = tagPart{whole: true, moment: r.rs.changes.now(), begun: r.rs.now()}
		pages = r.rs.o.Client.TagPages(ctx, r.Repository)
	}
	for page, err := range pages {
		if err != nil {
			return tagPart{}, r.keepPart(p, err)
		}
		p.pages, p.last = append(p.pages, page.Tags), page
		p.came += len(page.Tags)
		p.whole = p.whole && !page.Mirrored
	}
	return p, nil
}

// keepPart keeps what came of a list that broke off, as err says, and adds that to err.
func (r Repository) keepPart(p tagPart, err error) error {
	if p.came == 0 {
		return err
	}
	p.until = r.rs.now().Add(max(r.rs.o.ListTTL, shownFor))
	r.rs.tagParts.Add(r.Repository, p)
	return &brokenList{p.came, err}
}

// brokenList is the error of a list of tags that broke off after some came.
type brokenList struct {
	came int // tags
	err  error
}

func (e *brokenList) Error() string {
	return fmt.Sprintf("%d tags came, and the next listing goes on after them: %v", e.came, e.err)
}

func (e *brokenList) Unwrap() error { return e.err }
