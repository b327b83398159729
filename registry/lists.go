package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// Bounds of a list: a server may link page after page without end. The largest
// that are met have some hundred thousand names.
const (
	maxPages     = 10_000
	maxPage      = 32 << 20 // bytes
	maxListTotal = 64 << 20 // bytes of all pages
	maxNoNews    = 16       // pages on end that have no name, or the names of the page before
	maxListTime  = 5 * time.Minute
)

// TagPage is a page of the tags of a repository.
type TagPage struct {
	Tags []string
	// Mirrored says that a mirror gave the page. A mirror may list no more tags than it was
	// asked for before.
	Mirrored bool
}

// Tags lists the tags of a repository, a page a step and a GET a page (spec,
// "Listing Tags"). Order and duplicates are the registry's. An error ends it:
// ErrNotFound where there is no such repository, ErrUnsupported where the registry has no
// list of its tags.
func (c *Client) Tags(ctx context.Context, r ref.Repository) iter.Seq2[TagPage, error] {
	if err := checkRepository(r); err != nil {
		return func(yield func(TagPage, error) bool) { yield(TagPage{}, err) }
	}
	k := call{method: http.MethodGet, repo: r, path: r.Path + "/tags/list", what: "tags", name: r.String(), mirrored: true}
	return func(yield func(TagPage, error) bool) {
		for p, err := range c.names(ctx, k, "tags") {
			if !yield(TagPage{p.names, p.mirrored}, unlisted(err)) {
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
		for p, err := range c.names(ctx, k, "repositories") {
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
	mirrored bool // a mirror told it
}

// names lists the strings in a field of each page.
func (c *Client) names(ctx context.Context, k call, field string) iter.Seq2[namePage, error] {
	return func(yield func(namePage, error) bool) {
		var before []string
		noNews := 0
		for page, err := range c.pages(ctx, k) {
			var fields map[string]json.RawMessage
			var names []string // null is none
			if err == nil {
				err = json.Unmarshal(page.body, &fields)
				if err == nil && fields[field] != nil {
					err = json.Unmarshal(fields[field], &names)
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
			if !yield(namePage{names, page.mirrored}, nil) {
				return
			}
		}
	}
}

// page is one page of a list.
type page struct {
	body     []byte
	header   http.Header
	mirrored bool // a mirror told it
}

// pages gets page after page by their Links (RFC 8288), which stay on the
// origin. A page that came before, or one too many, is an error.
func (c *Client) pages(ctx context.Context, k call) iter.Seq2[page, error] {
	return func(yield func(page, error) bool) {
		seen := map[string]bool{}
		var origin *url.URL
		total, began := 0, time.Now()
		for n := range maxPages {
			var p page
			var at, next *url.URL
			var err error
			if n == 0 {
				k, p, at, next, err = c.firstPage(ctx, k)
			} else {
				p, at, next, err = c.page(ctx, k)
			}
			if total += len(p.body); err == nil && total > maxListTotal {
				err = k.nonsense("it has more than %d MiB", maxListTotal>>20)
			}
			if e := (*Error)(nil); n > 0 && errors.As(err, &e) && e.Kind == ErrNotFound {
				e.Kind = ErrServer // it began this list itself
			}
			if err == nil && next != nil && time.Since(began) > maxListTime {
				err = k.nonsense("its pages go on for more than %s", maxListTime)
			}
			if err == nil && origin == nil {
				origin = at
				seen[at.String()] = true
			}
			if err == nil && next != nil && !transport.SameOrigin(origin, next) {
				err = k.nonsense("its next page is at %s, another server", next.Host)
			}
			if err == nil && next != nil && seen[next.String()] {
				err = k.nonsense("its pages go in a circle")
			}
			if !yield(p, err) || err != nil || next == nil {
				return
			}
			seen[next.String()] = true
			k.url = next
		}
		yield(page{}, k.nonsense("it has more than %d pages", maxPages))
	}
}

// firstPage gets the first page from whom there is to be asked, and gives the call
// that the pages after it are asked for by.
func (c *Client) firstPage(ctx context.Context, k call) (_ call, p page, at, next *url.URL, err error) {
	if !k.mirrored {
		p, at, next, err = c.page(ctx, k)
		return k, p, at, next, err
	}
	es, err := c.listing(k.repo.Host)
	if err != nil {
		return k, p, nil, nil, k.failed(ctx, err, "")
	}
	k, err = try(ctx, c, k, es, OutOfReach, func(ctx context.Context, k call) (_ call, err error) {
		p, at, next, err = c.page(ctx, k)
		return k, err
	})
	return k, p, at, next, err
}

// page gets one page, the address that was asked for it, before any redirect,
// and that of the next.
func (c *Client) page(ctx context.Context, k call) (p page, at, next *url.URL, err error) {
	for attempt := 0; ; attempt++ {
		resp, err := c.do(ctx, k, http.StatusOK)
		if err != nil {
			return page{}, nil, nil, err
		}
		b, err := readAll(resp, maxPage)
		if err != nil {
			if err = k.body(ctx, err); errors.Is(err, errBroken) && !errors.Is(err, ErrTimeout) && attempt < 2 {
				continue
			}
			return page{}, nil, nil, err
		}
		first := resp.Request
		for first.Response != nil {
			first = first.Response.Request
		}
		link, ok := nextLink(resp.Header.Values("Link"))
		if !ok {
			return page{b, resp.Header, k.at != nil && k.at.mirror}, first.URL, nil, nil
		}
		next, err := transport.Resolve(resp.Request.URL, link)
		if err != nil {
			return page{}, nil, nil, k.nonsense("its next page: %w", err)
		}
		return page{b, resp.Header, k.at != nil && k.at.mirror}, first.URL, next, nil
	}
}

// nextLink finds the target of rel="next" in Link headers (RFC 8288, section 3):
//
//	Link       = #( "<" URI-Reference ">" *( ";" param ) )
//	param      = token [ "=" ( token / quoted-string ) ]
//
// The first rel of a link counts. A server that leaves the angle brackets off, or the
// rel, has no next page.
func nextLink(headers []string) (string, bool) {
	for _, h := range headers {
		for h != "" {
			_, rest, ok := strings.Cut(h, "<")
			if !ok {
				break
			}
			target, params, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			params, h = cutUnquoted(params, ',')
			for params != "" {
				var p string
				p, params = cutUnquoted(params, ';')
				name, value, _ := strings.Cut(p, "=")
				if !strings.EqualFold(strings.TrimSpace(name), "rel") {
					continue
				}
				for rel := range strings.FieldsSeq(strings.Trim(strings.TrimSpace(value), `"`)) {
					if strings.EqualFold(rel, "next") {
						return target, true
					}
				}
				break
			}
		}
	}
	return "", false
}

// cutUnquoted cuts s at the first sep that isn't in a quoted string.
func cutUnquoted(s string, sep byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\\' && quoted:
			i++
		case s[i] == sep && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}
