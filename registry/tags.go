package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"

	"github.com/ocifs/ocifs/registry/ref"
)

// TagPage is a page of the tags of a repository.
type TagPage struct {
	Tags []string
	// Mirrored says that a mirror gave the page. A mirror may know no other tags than those that
	// were read through it.
	Mirrored bool

	came bool  // a server gave the page; false: it is the zero value
	rest *rest // of the list; nil: it is the last page
}

// Tags lists the tags of a repository, one a step (spec, "Listing Tags"), and a GET for each
// page of them. Order and duplicates are the registry's, which may tell names that are no tags
// (ref.ValidTag). An error ends it: ErrNotFound where there is no such repository,
// ErrUnsupported where the registry has no list of its tags.
func (c *Client) Tags(ctx context.Context, r ref.Repository) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for p, err := range c.TagPages(ctx, r) {
			if err != nil {
				yield("", err)
				return
			}
			for _, t := range p.Tags {
				if !yield(t, nil) {
					return
				}
			}
		}
	}
}

// TagPages is Tags, a page a step.
func (c *Client) TagPages(ctx context.Context, r ref.Repository) iter.Seq2[TagPage, error] {
	return c.tagPages(ctx, r, nil)
}

// TagPagesAfter goes on with a list that broke off, after the last page that came of it. After the
// page that ends the list there is none, and after the zero value, where no page came, the list
// comes from its start. Where the registry knows no more of where that was, or
// other servers speak for it by now, the list comes from its start, so that names may come twice.
func (c *Client) TagPagesAfter(ctx context.Context, r ref.Repository, last TagPage) iter.Seq2[TagPage, error] {
	if !last.came {
		return c.tagPages(ctx, r, nil)
	}
	if last.rest == nil {
		return func(func(TagPage, error) bool) {}
	}
	from := last.rest
	if h, err := c.host(r.Host); err != nil || from.call.repo != r || !slices.Contains(h.servers(), from.call.at) {
		from = nil
	}
	return func(yield func(TagPage, error) bool) {
		came := false
		for p, err := range c.tagPages(ctx, r, from) {
			if !came && from != nil && isForgotten(err) {
				break
			}
			came = true
			if !yield(p, err) {
				return
			}
		}
		if !came {
			c.tagPages(ctx, r, nil)(yield)
		}
	}
}

// isForgotten says whether a registry doesn't know any more where a list went on.
func isForgotten(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Status == http.StatusBadRequest || e.Status == http.StatusNotFound || e.Status == http.StatusGone)
}

// tagPages lists the tags of a repository, or what is left of the list; from nil: all of it.
func (c *Client) tagPages(ctx context.Context, r ref.Repository, from *rest) iter.Seq2[TagPage, error] {
	if err := checkRepository("GET tags", r); err != nil {
		return func(yield func(TagPage, error) bool) { yield(TagPage{}, err) }
	}
	k := call{method: http.MethodGet, repo: r, path: r.Path + "/tags/list", what: "tags", name: r.String(), mirrored: true}
	return func(yield func(TagPage, error) bool) {
		for p, err := range c.names(ctx, k, "tags", from) {
			if !yield(TagPage{p.names, p.mirrored, err == nil, p.rest}, unlisted(err)) {
				return
			}
		}
	}
}

// unlisted makes ErrUnsupported of an answer to a list of tags that doesn't tell whether the
// repository is there: a 404 of the endpoint, or the code UNSUPPORTED (spec, "Error Codes").
// Harbor says NOT_FOUND of a repository in place of NAME_UNKNOWN (seen in
// 2024).
func unlisted(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	noEndpoint := e.Kind == ErrNotFound && !e.has("NAME_UNKNOWN", "NAME_INVALID", "NOT_FOUND")
	if noEndpoint || e.has("UNSUPPORTED") {
		e.Kind = ErrUnsupported
	}
	return err
}

// Catalog lists the repositories of a registry, a page a step. Registries that
// don't offer it give ErrUnsupported or ErrDenied.
func (c *Client) Catalog(ctx context.Context, host string) iter.Seq2[[]string, error] {
	k := call{method: http.MethodGet, repo: ref.Repository{Host: host}, path: "_catalog", what: "catalog", name: host}
	return func(yield func([]string, error) bool) {
		if _, err := ref.ParseHost(host); err != nil {
			yield(nil, fmt.Errorf("%w: %w", ErrNotFound, err))
			return
		}
		for p, err := range c.names(ctx, k, "repositories", nil) {
			var e *Error
			if errors.As(err, &e) && e.Status == http.StatusNotFound {
				e.Kind = ErrUnsupported
			}
			if !yield(p.names, err) {
				return
			}
		}
	}
}

// namePage is a page of a list of names.
type namePage struct {
	names    []string
	mirrored bool  // a mirror told it
	rest     *rest // nil: it is the last page
}

// names lists the strings in a field of each page: of all, or of those that are left; from nil: all.
func (c *Client) names(ctx context.Context, k call, field string, from *rest) iter.Seq2[namePage, error] {
	return func(yield func(namePage, error) bool) {
		var before []string
		noNews := 0
		for page, err := range c.pages(ctx, k, from) {
			var fields map[string]json.RawMessage
			var names []string // null is none
			if err == nil {
				err = json.Unmarshal(page.body, &fields)
				if err == nil && fields[field] != nil {
					names, err = decodeNames(fields[field])
				}
				if err != nil {
					err = k.nonsense("the answer is no list: %w", err)
				}
			}
			if noNews++; len(names) > 0 && !slices.Equal(names, before) {
				noNews = 0
			}
			if before = names; err == nil && noNews > maxNoNews {
				err = k.nonsense("its pages go on without anything new")
			}
			if err != nil {
				yield(namePage{}, err)
				return
			}
			if !yield(namePage{names, page.mirrored, page.rest}, nil) {
				return
			}
		}
	}
}
