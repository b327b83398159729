package registry

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/ocifs/ocifs/registry/internal/transport"
)

// Bounds of a list: a server may link page after page without end. The largest
// that are met have some hundred thousand names. How long all pages take has no bound: there are
// lists of 171 pages that take an hour (seatgeek/docker-mirror#31), and each page has its own.
const (
	maxPages     = 10_000
	maxPage      = 32 << 20 // bytes
	maxListTotal = 64 << 20 // bytes of all pages
	maxNoNews    = 16       // pages on end that have no name, or the names of the page before
)

// page is one page of a list.
type page struct {
	body     []byte
	header   http.Header
	mirrored bool  // a mirror told it
	rest     *rest // nil: it is the last page
}

// rest is what is left of a list after a page. It isn't changed once made.
type rest struct {
	call   call     // of the next page, by its address, to the server that began the list
	origin *url.URL // of the first page; nil: the next page is the first
	pages  int      // that came
	bytes  int      // of these pages
}

// pages gets page after page by their Links (RFC 8288), which stay on the origin: all of
// the list, or what is left after a page, from. A page that came before, or one too many, is an
// error.
func (c *Client) pages(ctx context.Context, k call, from *rest) iter.Seq2[page, error] {
	return func(yield func(page, error) bool) {
		left := from
		if left == nil {
			left = &rest{call: k}
		}
		seen := map[string]bool{}
		for left != nil {
			p, at, err := c.nextPage(ctx, left)
			if err == nil {
				seen[at.String()] = true
				if p.rest != nil && seen[p.rest.call.url.String()] {
					err = left.call.nonsense("its pages go in a circle")
				}
			}
			if !yield(p, err) || err != nil {
				return
			}
			left = p.rest
		}
	}
}

// nextPage gets the next page of a list, and the address that it was asked by.
func (c *Client) nextPage(ctx context.Context, left *rest) (p page, at *url.URL, err error) {
	k := left.call
	if left.pages == maxPages {
		return page{}, nil, k.nonsense("it has more than %d pages", maxPages)
	}
	var next *url.URL
	if left.origin == nil {
		k, p, at, next, err = c.firstPage(ctx, k)
	} else {
		p, at, next, err = c.page(ctx, k)
	}
	if e := (*Error)(nil); left.origin != nil && errors.As(err, &e) && e.Kind == ErrNotFound {
		e.Kind = ErrServer // it began this list itself
	}
	if err != nil {
		return page{}, nil, err
	}
	origin, bytes := left.origin, left.bytes+len(p.body)
	if origin == nil {
		origin = at
	}
	switch {
	case bytes > c.bounds.list:
		return page{}, nil, k.nonsense("it has more than %d MiB", c.bounds.list>>20)
	case next == nil:
		return p, at, nil
	case !transport.SameOrigin(origin, next):
		return page{}, nil, k.nonsense("its next page is at %s, another server", next.Host)
	}
	k.url = next
	p.rest = &rest{call: k, origin: origin, pages: left.pages + 1, bytes: bytes}
	return p, at, nil
}

// firstPage gets the first page from whom there is to be asked, and gives the call
// that the pages after it are asked for by.
func (c *Client) firstPage(ctx context.Context, k call) (_ call, p page, at, next *url.URL, err error) {
	if !k.mirrored {
		p, at, next, err = c.page(ctx, k)
		return k, p, at, next, err
	}
	es, err := c.listing(k.repo.Host)
	if k.referrers {
		es, err = c.referring(k.repo)
	}
	if errors.Is(err, errNoAPI) {
		return k, p, nil, nil, err
	}
	if err != nil {
		return k, p, nil, nil, k.failed(ctx, err, "")
	}
	k, err = try(ctx, c, k, es, OutOfReach, func(ctx context.Context, k call) (_ call, err error) {
		p, at, next, err = c.page(ctx, k)
		if err == nil && k.referrers && k.at.mirror && !isIndex(p) {
			err = k.nonsense("it is no index")
		}
		return k, err
	})
	k.plan.Hurried = false // the pages after it are had nowhere else
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
			if err = k.body(ctx, err); errors.Is(err, errBroken) && !errors.Is(err, ErrTimeout) && attempt < c.retries(2) {
				c.retried(k, err)
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
			return page{body: b, header: resp.Header, mirrored: k.at != nil && k.at.mirror}, first.URL, nil, nil
		}
		next, err := transport.Resolve(resp.Request.URL, link)
		if err != nil {
			return page{}, nil, nil, k.nonsense("its next page: %w", err)
		}
		return page{body: b, header: resp.Header, mirrored: k.at != nil && k.at.mirror}, first.URL, next, nil
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
