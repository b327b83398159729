package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/internal/transport"
	"github.com/ocifs/ocifs/registry/ref"
)

// maxTags is how many tags a registry must take at once.
const maxTags = 10

// PushManifest puts a manifest into a repository, under tags, or by its digest
// where there are none (spec, "Pushing Manifests"). Several tags go in one request
// where the registry confirms each, and else in one each, in order; the first that
// fails ends it, and those before it stay.
//
// What the manifest names must be there: ErrBlobUnknown says that it isn't, after
// some short waits for registries that take a moment. A tag that can't be moved is
// success where it points at this manifest, and ErrExists where it doesn't. Where
// the manifest has a subject and the registry doesn't keep a list of referrers, the
// tag that stands for the list is brought up to date (spec, "Referrers Tag Schema");
// an error of that says so, and leaves the manifest where it is.
func (c *Client) PushManifest(ctx context.Context, r ref.Repository, m *Manifest, tags ...string) error {
	for _, t := range tags {
		if err := checkTag("PUT manifest", r, t); err != nil {
			return err
		}
	}
	if err := checkManifest("PUT manifest", r, m); err != nil {
		return err
	}
	listed, err := c.putTags(ctx, r, m, tags)
	if err == nil && m.Subject != nil && !listed {
		err = c.addReferrer(ctx, r, m)
	}
	return err
}

// putTags puts a manifest under all tags, and says whether the registry lists it as
// a referrer.
func (c *Client) putTags(ctx context.Context, r ref.Repository, m *Manifest, tags []string) (listed bool, err error) {
	if len(tags) == 0 {
		return c.putDigest(ctx, r, m)
	}
	// A tag alone doesn't say which algorithm its digest is to be of: registries take SHA-256.
	inOne := len(tags) > 1 || m.Digest.Algorithm() != digest.Canonical
	for inOne && len(tags) > 0 && c.learnt.takesTags(r.Host) {
		n := min(len(tags), maxTags)
		k := putCall(r, m, m.Digest.String())
		for _, t := range tags[:n] {
			k.query += "&tag=" + t // whose characters need no escapes
		}
		k.query = k.query[1:]
		h, err := c.put(ctx, k, m)
		var e *Error
		if err != nil && !(errors.As(err, &e) && mayBeTheTags(e)) {
			return false, err
		}
		listed = err == nil && h.Get("OCI-Subject") != ""
		set := confirmedTags(h)
		missing := slices.DeleteFunc(slices.Clone(tags[:n]), func(t string) bool { return slices.Contains(set, t) })
		if len(missing) > 0 {
			if len(set) == 0 {
				c.learnt.lacksTags(r.Host)
			}
			tags = append(missing, tags[n:]...)
			break
		}
		tags = tags[n:]
	}
	for _, t := range tags {
		one, err := c.putTag(ctx, r, m, t)
		if err != nil {
			return false, err
		}
		listed = listed || one
	}
	return listed, nil
}

// mayBeTheTags says whether a refusal may be of the tags that came along: each by
// itself then tells.
func mayBeTheTags(e *Error) bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusConflict,
		http.StatusPreconditionFailed, http.StatusRequestURITooLong, http.StatusNotImplemented:
		return e.Kind != ErrBlobUnknown && e.Kind != ErrCorrupt
	}
	return false
}

// confirmedTags are those that an answer says it set.
func confirmedTags(h http.Header) []string {
	var set []string
	for _, v := range h.Values("OCI-Tag") {
		for t := range strings.SplitSeq(v, ",") {
			set = append(set, strings.TrimSpace(t))
		}
	}
	return set
}

func (c *Client) putDigest(ctx context.Context, r ref.Repository, m *Manifest) (listed bool, err error) {
	h, err := c.put(ctx, putCall(r, m, m.Digest.String()), m)
	return h.Get("OCI-Subject") != "", err
}

// putTag puts a manifest under one tag. Where that is refused and the tag points at
// the manifest already, nothing is left to do.
func (c *Client) putTag(ctx context.Context, r ref.Repository, m *Manifest, tag string) (listed bool, err error) {
	h, err := c.put(ctx, putCall(r, m, tag), m)
	var e *Error
	if !errors.As(err, &e) || e.Kind == ErrBlobUnknown {
		return h.Get("OCI-Subject") != "", err
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusConflict, http.StatusPreconditionFailed:
	default:
		return false, err
	}
	k := manifestCall(http.MethodHead, r, tag)
	k.access.Do = auth.Push
	is, headErr := c.resolveManifest(ctx, k, "")
	switch {
	case headErr != nil:
		return false, err
	case is.Digest == m.Digest && m.Subject != nil:
		return c.putDigest(ctx, r, m) // which tells of the list
	case is.Digest == m.Digest:
		return false, nil
	}
	immutable := e.says("immutable", "already exist", "alreadyexist", "cannot be overwritten", "can't be overwritten", "not be overwritten")
	if immutable || e.Status == http.StatusConflict || e.Status == http.StatusPreconditionFailed {
		e.Kind, e.Err = ErrExists, fmt.Errorf("it points at %s", is.Digest)
	}
	return false, e
}

func putCall(r ref.Repository, m *Manifest, reference string) call {
	return call{
		method: http.MethodPut, repo: r, path: r.Path + "/manifests/" + reference,
		header: http.Header{"Content-Type": {m.MediaType}},
		access: auth.Access{Do: auth.Push}, sends: requestBody(m.Raw),
		what: manifestWhat, name: named(r, reference),
	}
}

// put sends a manifest, and once more, after a pause, where the registry doesn't
// know yet of what was pushed just before.
func (c *Client) put(ctx context.Context, k call, m *Manifest) (http.Header, error) {
	for attempt := 0; ; attempt++ {
		k.plan.Repeats = new(int)
		resp, err := c.do(ctx, k, http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusNoContent)
		if err == nil {
			transport.Aside(resp)
			return resp.Header, k.checkDigest(resp, m.Digest)
		}
		if !errors.Is(err, ErrBlobUnknown) || attempt >= len(c.bounds.pauses) {
			return nil, err
		}
		if err := transport.Sleep(ctx, c.bounds.pauses[attempt]); err != nil {
			return nil, fmt.Errorf("%s %s: %w", k.op(), k.name, err)
		}
		c.retried(k, err)
	}
}
