package registry

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ocifs/ocifs/registry/internal/transport"
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
